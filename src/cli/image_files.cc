// The files that make a Debian tree a guest: name, network, console, root disk, initial RAM disk.
#include <array>
#include <string_view>

#include "cli/image_recipe.h"

namespace doppel {
namespace {

constexpr const char* kFstab = "/dev/vda / ext4 errors=remount-ro 0 1\n";

constexpr const char* kNetwork = R"([Match]
Type=ether

[Network]
DHCP=yes
)";

constexpr const char* kAutologin = R"([Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200,57600,38400,9600 - $TERM
)";

constexpr const char* kInitramfsSettings = R"(MODULES=list
COMPRESS=gzip
BUSYBOX=n
FSTYPE=ext4
RESUME=none
)";

// ext4 is part of the kernel. Without udev, names like root=/dev/vda or root=LABEL=root still work.
constexpr const char* kInitramfsHook = R"(#!/bin/sh
# Only what a virtual machine needs to find its root disk.
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
for module in virtio_pci virtio_mmio virtio_blk; do
  force_load "$module"
done
cd "$DESTDIR" || exit 1
rm -rf scripts/*/udev usr/lib/systemd usr/lib/udev etc/udev usr/bin/udevadm usr/sbin/dmsetup
find usr/lib/modules \( -name 'dm-*.ko' -o -name fan.ko \) -delete
find usr/lib -type f \( -name 'libdevmapper*' -o -name 'libm.so*' \) -delete
)";

// Work that a virtual machine's start does not need, or that nobody waits for.
constexpr std::array<std::string_view, 11> kMaskedUnits = {
    "apt-daily.timer",        "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",   "e2scrub_all.timer",
    "e2scrub_reap.service",   "fstrim.timer",
    "getty@tty1.service",     "systemd-networkd-wait-online.service",
    "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount",
    "systemd-pstore.service"};

}  // namespace

std::vector<ImageFile> image_files(const ImageRecipe& recipe) {
  std::vector<ImageFile> files = {
      {"etc/hostname", 0644, recipe.hostname + "\n"},
      {"etc/hosts", 0644, "127.0.0.1 localhost " + recipe.hostname + "\n::1 localhost\n"},
      {"etc/fstab", 0644, kFstab},
      {"etc/systemd/network/80-dhcp.network", 0644, kNetwork},
      {"etc/initramfs-tools/conf.d/doppel", 0644, kInitramfsSettings},
      {"etc/initramfs-tools/hooks/doppel", 0755, kInitramfsHook},
  };
  for (const std::string_view unit : kMaskedUnits) {
    files.push_back({"etc/systemd/system/" + std::string(unit), 0777, "/dev/null", true});
  }
  if (recipe.root_password.empty()) {
    files.push_back({"etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf", 0644, kAutologin});
  } else {
    files.push_back({"root/password", 0600, "root:" + recipe.root_password + "\n"});
  }
  if (!recipe.ssh_key.empty()) files.push_back({"root/.ssh/authorized_keys", 0600, recipe.ssh_key + "\n"});
  return files;
}

}  // namespace doppel
