"""The emulators whose processors can virtualize: each boots the Debian kernel with our initramfs.

Qemu emulates AMD's SVM, fast and incompletely; Bochs emulates Intel's VMX, slowly and with debug registers.
Both connect their second serial port to a port of this machine when asked to.
"""

import os
import shutil
import subprocess
import time

LONGEST_SILENCE = 60  # seconds until the host inside an emulator is taken for dead
WORDS = "console=ttyS0 quiet panic=-1 mitigations=off"

BOCHS_CONFIG = """\
plugin_ctrl: unmapped=1, biosdev=1, extfpuirq=1, serial=1, speaker=0, parallel=0, gameport=0
cpu: model=corei7_haswell_4770, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
megs: 768
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=boot.iso, status=inserted
boot: cdrom
display_library: rfb, options="timeout=0"
com1: enabled=1, mode=file, dev={console}
{com2}
log: log.txt
panic: action=fatal
error: action=ignore
info: action=ignore
clock: sync=none, time0=local
"""

ISOLINUX_CONFIG = """\
default linux
label linux
 kernel /vmlinuz
 append initrd=/initrd.gz {words}
"""


class Qemu:
    """QEMU with one emulated AMD processor."""

    name = "qemu"
    module = "kvm-amd"
    needs = ("qemu-system-x86_64",)
    slowness = 1

    def __init__(self, folder, kernel, initrd):
        self.folder, self.kernel, self.initrd = folder, kernel, initrd

    def start(self, words, console, port):
        """The emulator's process, printing to the file."""
        command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1G", "-smp", "1", "-display", "none",
                   "-monitor", "none", "-nic", "none", "-no-reboot", "-serial", "stdio", "-kernel", str(self.kernel),
                   "-initrd", str(self.initrd), "-append", f"{WORDS} {words}"]
        if port:
            command += ["-chardev", f"socket,id=debug,host=127.0.0.1,port={port}", "-serial", "chardev:debug"]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)


class Bochs:
    """Bochs with one emulated Intel processor; boots from a CD."""

    name = "bochs"
    module = "kvm-intel"
    needs = ("bochs", "xorriso")
    slowness = 4

    def __init__(self, folder, kernel, initrd):
        self.folder, self.kernel, self.initrd = folder, kernel, initrd

    def make_disc(self, words):
        """A CD with the boot loader, the kernel and the initramfs."""
        disc = self.folder / "disc"
        shutil.rmtree(disc, ignore_errors=True)
        (disc / "isolinux").mkdir(parents=True)
        shutil.copyfile("/usr/lib/ISOLINUX/isolinux.bin", disc / "isolinux" / "isolinux.bin")
        shutil.copyfile("/usr/lib/syslinux/modules/bios/ldlinux.c32", disc / "isolinux" / "ldlinux.c32")
        (disc / "isolinux" / "isolinux.cfg").write_text(ISOLINUX_CONFIG.format(words=words), encoding="ascii")
        shutil.copyfile(self.kernel, disc / "vmlinuz")
        with open(disc / "initrd.gz", "wb") as target:
            subprocess.run(("gzip", "-1", "-c", str(self.initrd)), check=True, stdout=target)
        subprocess.run(("xorriso", "-as", "mkisofs", "-quiet", "-o", str(self.folder / "boot.iso"), "-b",
                        "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4",
                        "-boot-info-table", str(disc)), check=True, stderr=subprocess.DEVNULL)

    def start(self, words, console, port):
        """The emulator's process, printing to the file. It reopens the file, so that nothing else may write it."""
        # Calibrations take long here. With one-shot timers the kernel in here stops for good now and then.
        self.make_disc(f"{WORDS} tsc=reliable lpj=4000000 nohz=off highres=off lapic=notscdeadline {words}")
        com2 = f"com2: enabled=1, mode=socket-client, dev=127.0.0.1:{port}" if port else ""
        (self.folder / "config").write_text(BOCHS_CONFIG.format(console=console.name, com2=com2), encoding="ascii")
        (self.folder / "commands").write_text("c\nq\n", encoding="ascii")
        with open(self.folder / "output.txt", "wb") as output:
            return subprocess.Popen(("bochs", "-q", "-f", "config", "-rc", "commands"), cwd=self.folder,
                                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)


HOSTS = {host.name: host for host in (Qemu, Bochs)}


def missing(host):
    """The first program that the host needs and this machine lacks; else None."""
    files = ("/usr/lib/ISOLINUX/isolinux.bin",) if host is Bochs else ()
    return next((need for need in host.needs if shutil.which(need) is None),
                next((file for file in files if not os.path.exists(file)), None))


def watch(process, host, path, deadline, look):
    """Waits for the end of the emulator; what has become silent, or late, is stopped. Calls look() meanwhile, which
    says whether silence means anything."""
    size, since = 0, time.monotonic()
    while process.poll() is None:
        now, printed = time.monotonic(), os.path.getsize(path)
        if look() or printed != size:
            size, since = printed, now
        if now > deadline or now - since > LONGEST_SILENCE * host.slowness:
            print(f"run: {host.name} is stopped: nothing more for {now - since:.0f} s", flush=True)
            process.kill()
        time.sleep(0.2)
    return process.returncode
