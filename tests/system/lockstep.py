"""Real guests whose translated code the interpreter does again, block by block."""

import re
import subprocess
import tempfile
from pathlib import Path

from debian_io import IS_SOAK
from debian_vmm import FILES, WORDS, check_available
from doppel import Skip, expect, expect_output

CHECKED = ("--engine", "jit", "--clock", "instructions", "--check-engine", "interp", "--stats")
# The kernel's self-tests of its cryptography are half of its start.
SHORT = "cryptomgr.notests"
TWO_CPUS_INSTRUCTIONS = 200_000_000
DEBIAN_LIMIT = 3000


def checked(outcome, blocks):
    """Nothing was found, nothing left out, and so many blocks compared."""
    expect("engine check" not in outcome.err, outcome.err[:4000])
    counts = dict(re.findall(r"^(check\w+) (\d+)$", outcome.err, re.MULTILINE))
    expect(outcome.status == 0 and counts, f"status {outcome.status}: {outcome.err[-300:]!r}")
    compared = sum(int(count) for count in re.findall(r"^checked_blocks (\d+)$", outcome.err, re.MULTILINE))
    expect(compared > blocks, f"only {compared} blocks were compared")
    expect(counts["check_skipped"] == "0", f"{counts['check_skipped']} blocks could not be compared")


def linux_boots_to_its_shell_in_lockstep(doppel):
    """Every block of a kernel's start leaves registers and memory as the interpreter does."""
    outcome = doppel.boot(*CHECKED, "--exit-on", "doppel:", words=SHORT, limit=300)
    expect_output(outcome, "doppel:")
    checked(outcome, blocks=50_000_000)


def two_cpus_start_in_lockstep(doppel):
    """The same with a second CPU, as far as both are up."""
    outcome = doppel.boot(*CHECKED, "--max-instructions", TWO_CPUS_INSTRUCTIONS, words=SHORT, cpus=2, limit=300)
    checked(outcome, blocks=10_000_000)


def debian_boots_in_lockstep(doppel):
    """systemd starts everything, up to the root shell."""
    if not IS_SOAK:
        raise Skip("takes up to half an hour; set DOPPEL_SOAK=1")
    check_available(doppel)
    with tempfile.TemporaryDirectory(prefix="doppel-lockstep-") as folder:
        root = Path(folder) / "root.raw"
        subprocess.run(("cp", "--sparse=always", "--reflink=auto", str(FILES / "disk.raw"), str(root)), check=True)
        outcome = doppel.run("run", "--kernel", FILES / "vmlinuz", "--initrd", FILES / "initrd.img", "--cmdline", WORDS,
                             "--memory", "1G", "--disk", f"{root},serial=root", *CHECKED, "--exit-on", ":~# ",
                             limit=DEBIAN_LIMIT)
        checked(outcome, blocks=400_000_000)


TESTS = (linux_boots_to_its_shell_in_lockstep, two_cpus_start_in_lockstep, debian_boots_in_lockstep)
