"""What the guest kernel complains about here, it must also complain about in QEMU."""

import re
import shutil
import subprocess
from collections import Counter

from doppel import GUEST, Skip, expect, expect_output

QEMU = "qemu-system-x86_64"
WORDS = "console=ttyS0 panic=-1 console_msg_format=syslog loglevel=8 doppel.exec=none"
LAST_BAD_LEVEL = 4  # KERN_WARNING
# Whatever the level says, these words never belong into a healthy start.
# With an HPET Linux emulates the RTC's interrupts by timer, and counts what a busy host delays.
HOST_IS_BUSY = re.compile(r"hpet: Lost \d+ RTC interrupts")
ALARMS = re.compile(r"\b(?:WARNING:|BUG:|Oops|Call Trace|general protection|unhandled|unchecked MSR|stuck|stall)")


def normal(line):
    """A line without what differs between runs: time stamp and numbers."""
    text = re.sub(r"^<\d+>\[ *\d+\.\d+\] ", "", line)
    return re.sub(r"0x[0-9a-f]+|\d+", "N", text).strip()


def complaints(output):
    """Lines of level warning or worse, and alarms of any level."""
    found = []
    for line in output.splitlines():
        if HOST_IS_BUSY.search(line):
            continue
        level = re.match(r"<(\d+)>", line)
        if (level and int(level[1]) & 7 <= LAST_BAD_LEVEL) or ALARMS.search(line):
            found.append(normal(line))
    return Counter(found)


def qemu_output():
    """The console of the same kernel and initramfs in QEMU."""
    if shutil.which(QEMU) is None:
        raise Skip(f"{QEMU} is not installed")
    command = (QEMU, "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults", "-display", "none", "-serial",
               "stdio", "-no-reboot", "-kernel", str(GUEST / "vmlinuz"), "-initrd", str(GUEST / "initrd.img"),
               "-append", WORDS)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=180, check=False)
    except subprocess.TimeoutExpired as late:
        raise Skip(f"{QEMU} did not finish in {late.timeout} s") from late
    return done.stdout.decode("utf-8", "replace")


def kernel_complains_no_more_than_in_qemu(doppel):
    """No kernel line of level warning or worse that QEMU's guest does not show as well."""
    outcome = doppel.run("run", "--kernel", GUEST / "vmlinuz", "--initrd", GUEST / "initrd.img", "--memory", "512M",
                         "--cmdline", WORDS)
    expect_output(outcome, "doppel-exec: none ended with status 0")
    excess = complaints(outcome.out)
    if excess:  # rarely equal to QEMU's, but often empty but for the power-off line
        excess = excess - complaints(qemu_output())
    expect(not excess, "lines that QEMU's guest does not show: " + "; ".join(excess))


TESTS = (kernel_complains_no_more_than_in_qemu,)
