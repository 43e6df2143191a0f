"""Command lines of the two monitors that can run the Debian guest: doppel, and QEMU as judge of test and image."""

import shutil
import subprocess

from doppel import GUEST, Skip

FILES = GUEST / "debian"
QEMU = "qemu-system-x86_64"
WORDS = "root=/dev/vda rw console=ttyS0 quiet panic=-1 systemd.show_status=false"


class Disk:
    """A disk of the guest, known inside by its serial number."""

    def __init__(self, path, serial, transport="pci", ring="split", queues=1):
        self.path = path
        self.serial = serial
        self.transport = transport
        self.ring = ring
        self.queues = queues


class Config:
    """What a guest consists of. `net` is None, ("user", port for ssh) or ("tap", interface)."""

    def __init__(self, cpus=1, memory="1G", disks=(), net=None):
        self.cpus = cpus
        self.memory = memory
        self.disks = tuple(disks)
        self.net = net


def doppel_command(binary, config):
    """The words of `doppel run` for this guest."""
    command = [str(binary), "run", "--kernel", str(FILES / "vmlinuz"), "--initrd", str(FILES / "initrd.img"),
               "--cmdline", WORDS, "--memory", config.memory, "--cpus", str(config.cpus)]
    for disk in config.disks:
        command += ["--disk", f"{disk.path},serial={disk.serial},transport={disk.transport},ring={disk.ring},"
                              f"queues={disk.queues}"]
    if config.net:
        kind, value = config.net
        command += ["--net", f"user,hostfwd=tcp:127.0.0.1:{value}-:22" if kind == "user" else f"tap,ifname={value}"]
    return command


def qemu_disk(number, disk):
    """A virtio block device; only on PCI, the machine type has no virtio-mmio."""
    if disk.transport != "pci":
        raise Skip("QEMU's default machine has no virtio-mmio")
    packed = "on" if disk.ring == "packed" else "off"
    return ["-drive", f"if=none,id=disk{number},file={disk.path},format=raw,cache=writeback", "-device",
            f"virtio-blk-pci,drive=disk{number},serial={disk.serial},packed={packed},num-queues={disk.queues}"]


def qemu_command(config, monitor):
    """The same guest in QEMU without hardware virtualization."""
    command = [QEMU, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(config.cpus), "-m", config.memory,
               "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
               "-monitor", f"unix:{monitor},server=on,wait=off", "-kernel", str(FILES / "vmlinuz"),
               "-initrd", str(FILES / "initrd.img"), "-append", WORDS]
    for number, disk in enumerate(config.disks):
        command += qemu_disk(number, disk)
    if config.net:
        kind, value = config.net
        back_end = (f"user,id=net0,hostfwd=tcp:127.0.0.1:{value}-:22" if kind == "user" else
                    f"tap,id=net0,ifname={value},script=no,downscript=no")
        command += ["-netdev", back_end, "-device", "virtio-net-pci,netdev=net0"]
    return command


def check_available(doppel):
    """Skip when the image or the monitor cannot be used here."""
    if not (FILES / "disk.raw").exists():
        raise Skip("no Debian image; run tools/build-guest --debian")
    if doppel.vmm == "qemu":
        if shutil.which(QEMU) is None:
            raise Skip(f"{QEMU} is not installed")
        return
    text = subprocess.run((str(doppel.binary), "run", "--help"), capture_output=True, text=True, check=False).stdout
    for option in ("--disk", "--net"):
        if option not in text:
            raise Skip(f"this doppel has no {option}")
