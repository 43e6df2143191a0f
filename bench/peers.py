"""The machines that bench/run compares: how each is started on the same kernel and initramfs."""

import os
import pty
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUEST = ROOT / "build" / "guest"
CMDLINE = "console=ttyS0 quiet panic=-1"
MEMORY_MIB = 512

BOCHSRC = """\
display_library: term
config_interface: textconfig
cpu: model=corei7_sandy_bridge_2600k, count=1, ips=100000000, reset_on_triple_fault=0
memory: guest={memory}, host={memory}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
boot: cdrom
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="{iso}", status=inserted
com1: enabled=1, mode=file, dev={console}
log: {log}
panic: action=fatal
clock: sync=none, time0=0
speaker: enabled=0
"""

ISOLINUX = """\
DEFAULT guest
PROMPT 0
LABEL guest
  KERNEL /vmlinuz
  INITRD /guest.img
  APPEND {cmdline}
"""


class Missing(Exception):
    """A peer cannot run here; the message says what it lacks."""


class Started:
    """A running peer: its process, the byte stream of its console and what it says on standard error."""

    def __init__(self, process, console, errors=None):
        self.process = process
        self.console = console
        self.errors = errors

    def messages(self):
        """Everything written to standard error so far."""
        if self.errors is None:
            return ""
        self.errors.seek(0)
        return self.errors.read().decode("latin-1")


def require(*programs):
    """Missing, unless all the programs are there."""
    for program in programs:
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed; run tools/install-deps bench")


def start_piped(command):
    """Starts a peer that has its console on standard output."""
    errors = tempfile.TemporaryFile()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
    return Started(process, process.stdout, errors)


def start_native(_work, _image):
    """The benchmark as a process of this host."""
    return start_piped([str(GUEST / "guest-bench"), "--native"])


def start_qemu(_work, image, extra=()):
    """QEMU's translator. Guest RAM is a memfd, so that it can be told apart from QEMU's own memory."""
    require("qemu-system-x86_64")
    return start_piped([
        "qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
        "-m", str(MEMORY_MIB), "-machine", "pc,memory-backend=ram",
        "-object", f"memory-backend-memfd,id=ram,size={MEMORY_MIB}M",
        "-kernel", str(GUEST / "vmlinuz"), "-initrd", str(image), "-append", CMDLINE, *extra])


def start_doppel(engine):
    """A function that starts doppel with one engine."""
    def start(_work, image):
        binary = Path(os.environ.get("DOPPEL", ROOT / "build" / "release" / "doppel"))
        if not binary.exists():
            raise Missing("build/release/doppel is not built; run make build")
        return start_piped([
            str(binary), "run", "--kernel", str(GUEST / "vmlinuz"), "--initrd", str(image), "--cmdline", CMDLINE,
            "--memory", f"{MEMORY_MIB}M", "--cpus", "1", "--engine", engine, "--stats"])
    return start


def bootable_iso(work, image):
    """A CD image with isolinux, the kernel and the initramfs: Bochs has no loader of its own."""
    require("xorriso")
    loader = Path("/usr/lib/ISOLINUX/isolinux.bin")
    module = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
    if not (loader.exists() and module.exists()):
        raise Missing("isolinux or syslinux-common is not installed; run tools/install-deps bench")
    tree = work / "iso"
    (tree / "isolinux").mkdir(parents=True)
    for source, target in ((loader, "isolinux/isolinux.bin"), (module, "isolinux/ldlinux.c32"),
                           (GUEST / "vmlinuz", "vmlinuz"), (image, "guest.img")):
        shutil.copyfile(source, tree / target)
    (tree / "isolinux/isolinux.cfg").write_text(ISOLINUX.format(cmdline=CMDLINE))
    iso = work / "guest.iso"
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", str(iso), "-b", "isolinux/isolinux.bin",
                    "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
                    str(tree)], check=True, capture_output=True)
    return iso


def record(descriptor, file):
    """Copies what a program writes to its screen until it ends."""
    try:
        while data := os.read(descriptor, 65536):
            file.write(data)
    except OSError:  # Linux reports the end of a pseudo-terminal as an error
        pass


def start_bochs(work, image):
    """Bochs in a pseudo-terminal; its serial port is a FIFO. Debian's build waits in its debugger for `c`."""
    require("bochs")
    fifo = work / "console"
    os.mkfifo(fifo)
    config = work / "bochsrc"
    config.write_text(BOCHSRC.format(memory=MEMORY_MIB, iso=bootable_iso(work, image), console=fifo,
                                     log=work / "bochs.log"))
    commands = work / "commands"
    commands.write_text("c\n")
    master, slave = pty.openpty()
    console = os.fdopen(os.open(fifo, os.O_RDWR), "rb", buffering=0)
    process = subprocess.Popen(["bochs", "-q", "-rc", str(commands), "-f", str(config)], stdin=slave, stdout=slave,
                               stderr=slave, env={**os.environ, "TERM": "xterm"}, start_new_session=True)
    os.close(slave)
    screen = tempfile.TemporaryFile()
    threading.Thread(target=record, args=(master, screen), daemon=True).start()
    return Started(process, console, screen)


def start_counted(work, image):
    """QEMU with one nanosecond of guest time for each instruction: counts, not speed."""
    return start_qemu(work, image, ("-icount", "shift=0,sleep=off"))


PEERS = {
    "native": start_native,
    "doppel-interp": start_doppel("interp"),
    "qemu-tcg": start_qemu,
    "bochs": start_bochs,
}
