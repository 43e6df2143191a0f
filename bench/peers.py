"""The machines that the benchmarks compare: how each is started on the same kernel and initramfs."""

import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUEST = ROOT / "build" / "guest"
TOOLS = GUEST / "bench-tools.tree"
CMDLINE = "console=ttyS0 quiet panic=-1 no_timer_check"  # on a busy host QEMU misses the timer's test
MEMORY_MIB = 512
# Has the vector instructions that doppel's default CPU has; QEMU's default has not.
QEMU_CPU = os.environ.get("QEMU_CPU", "max")

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

    def stop(self):
        """Ends it and what it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.console.close()


def require(*programs):
    """Missing, unless all the programs are there."""
    for program in programs:
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed; run tools/install-deps bench")


def start_piped(command):
    """Starts a peer, in a session of its own, that has its console on standard output."""
    errors = tempfile.TemporaryFile()
    process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                               start_new_session=True)
    return Started(process, process.stdout, errors)


class Guest:
    """What a peer starts: an initramfs, words for the kernel, arguments for init, a folder for temporary files."""

    def __init__(self, work, image, arguments=(), words="", bits=64):
        self.work = work
        self.bits = bits  # of the program that is init
        self.image = image
        self.arguments = tuple(arguments)
        self.words = words

    def cmdline(self, console=CMDLINE):
        """The kernel's command line."""
        return " ".join(word for word in (console, self.words, *(("--", *self.arguments) if self.arguments else ()))
                        if word)


def start_native(guest):
    """The benchmark as a process of this host."""
    program = GUEST / ("guest-bench" if guest.bits == 64 else "guest-bench-32")
    try:
        return start_piped([program, "--native", TOOLS, *guest.arguments])
    except OSError as error:
        raise Missing(f"{program.name} cannot run here: {error.strerror}") from error


def start_qemu(guest, extra=(), kernel=GUEST / "vmlinuz"):
    """QEMU's translator. Guest RAM is a memfd, so that it can be told apart from QEMU's own memory."""
    require("qemu-system-x86_64")
    return start_piped([
        "qemu-system-x86_64", "-accel", "tcg", "-cpu", QEMU_CPU, "-nodefaults", "-display", "none", "-serial", "stdio",
        "-no-reboot", "-m", MEMORY_MIB, "-machine", "pc,memory-backend=ram",
        "-object", f"memory-backend-memfd,id=ram,size={MEMORY_MIB}M",
        "-kernel", kernel, "-initrd", guest.image, "-append", guest.cmdline(), *extra])


def doppel_binary():
    """The build that is measured: the release build, or what DOPPEL names."""
    binary = Path(os.environ.get("DOPPEL", ROOT / "build" / "release" / "doppel"))
    if not binary.exists():
        raise Missing(f"{binary} is not built; run make build")
    return binary


def doppel_engines():
    """The engines that this build of doppel has, by what its help says."""
    done = subprocess.run((doppel_binary(), "run", "--help"), capture_output=True, text=True, check=False)
    match = re.search(r"--engine TEXT\s+(.*)", done.stdout)
    return [name for name in re.findall(r"\w+", match[1]) if name not in ("auto", "or")] if match else []


def start_doppel(engine):
    """A function that starts doppel with one engine."""
    def start(guest, extra=(), kernel=GUEST / "vmlinuz"):
        binary = doppel_binary()
        if engine != "auto" and engine not in doppel_engines():
            raise Missing(f"engine {engine} is not built in")
        return start_piped([
            binary, "run", "--kernel", kernel, "--initrd", guest.image, "--cmdline", guest.cmdline(),
            "--memory", f"{MEMORY_MIB}M", "--engine", engine, "--stats", *extra])
    return start


def start_uml(guest):
    """User Mode Linux: Debian's kernel for it, a process that traces the guest's processes."""
    require("linux.uml")
    if guest.bits != 64:
        raise Missing(f"has no processes of {guest.bits} bits")
    console = "con=null con0=null,fd:1 ssl=null quiet panic=-1"
    return start_piped(["linux.uml", f"mem={MEMORY_MIB}M", f"initrd={guest.image}",
                        *guest.cmdline(console).split()])


def bootable_iso(guest):
    """A CD image with isolinux, the kernel and the initramfs: Bochs has no loader of its own."""
    require("xorriso")
    loader = Path("/usr/lib/ISOLINUX/isolinux.bin")
    module = Path("/usr/lib/syslinux/modules/bios/ldlinux.c32")
    if not (loader.exists() and module.exists()):
        raise Missing("isolinux or syslinux-common is not installed; run tools/install-deps bench")
    tree = guest.work / "iso"
    (tree / "isolinux").mkdir(parents=True)
    for source, target in ((loader, "isolinux/isolinux.bin"), (module, "isolinux/ldlinux.c32"),
                           (GUEST / "vmlinuz", "vmlinuz"), (guest.image, "guest.img")):
        shutil.copyfile(source, tree / target)
    (tree / "isolinux/isolinux.cfg").write_text(ISOLINUX.format(cmdline=guest.cmdline()))
    iso = guest.work / "guest.iso"
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


def start_bochs(guest):
    """Bochs in a pseudo-terminal; its serial port is a FIFO. Debian's build waits in its debugger for `c`."""
    require("bochs")
    work = guest.work
    fifo = work / "console"
    os.mkfifo(fifo)
    config = work / "bochsrc"
    config.write_text(BOCHSRC.format(memory=MEMORY_MIB, iso=bootable_iso(guest), console=fifo,
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


def start_counted(guest):
    """QEMU with one nanosecond of guest time for each instruction: counts, not speed."""
    return start_qemu(guest, ("-icount", "shift=0,sleep=off"))


PEERS = {
    "native": start_native,
    "doppel-interp": start_doppel("interp"),
    "doppel-jit": start_doppel("jit"),
    "doppel-kvm": start_doppel("kvm"),
    "qemu-tcg": start_qemu,
    "uml": start_uml,
    "bochs": start_bochs,
}
ASKED_FOR = ("doppel-kvm", "bochs")  # only when they are named: KVM is no translator, Bochs is slow
