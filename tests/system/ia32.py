"""A 32-bit process under the guest's 64-bit kernel: a program that checks itself, on every engine and on this host."""

import subprocess
import tempfile
from pathlib import Path

import overlay
from doppel import ROOT, Skip, expect, expect_output, tail
from engines import state_hash
from lockstep import CHECKED, SHORT, checked

PARTS = ("main", "numbers", "segments", "signals", "code", "modes", "talk")
FLAGS = (f"@{ROOT / 'tools' / 'guest' / 'clang-32'}", "-fno-pie", "-Wall", "-Wextra", "-Werror")
MODELS = ("x86-64-v3", "host")
RIGHT = "ia32: OK"
INSTRUCTIONS = 20_000_000_000  # to the end


def programs(folder):
    """The 32-bit program and the 64-bit one that it talks to."""
    if not Path("/usr/include/gnu/stubs-32.h").exists():
        raise Skip("there is no 32-bit C library to build with; run tools/install-deps build")
    return (overlay.program(Path(folder) / "ia32", [f"ia32/{part}.c" for part in PARTS], *FLAGS),
            overlay.program(Path(folder) / "partner", ("ia32/partner.c",)))


def initrd(folder, rounds=1):
    """An initramfs that runs them."""
    narrow, wide = programs(folder)
    return overlay.initrd(folder, (), f"for round in $(seq {rounds}); do ia32 /bin/partner || exit 1; done\n",
                          files=(("bin/ia32", narrow), ("bin/partner", wide)))


def passes(doppel, *options, cpus=1, rounds=3):
    """The program finds nothing wrong, also when it is run again."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = doppel.boot(*options, image=initrd(folder, rounds), words=f"doppel.exec=test {SHORT}", cpus=cpus)
        expect(outcome.out.count(RIGHT) == rounds, f"not {rounds} times OK; last: {tail(outcome.out)}")
        expect(outcome.status == 0, f"status {outcome.status}: {tail(outcome.err)}")


def passes_on_this_host(_doppel):
    """What the program takes for right is what a processor does."""
    with tempfile.TemporaryDirectory() as folder:
        narrow, wide = programs(folder)
        try:
            done = subprocess.run((narrow, wide), capture_output=True, text=True, check=False, timeout=60)
        except OSError as error:
            raise Skip(f"this host runs no 32-bit programs: {error.strerror}") from error
        expect(done.stdout.strip() == RIGHT, f"status {done.returncode}: {done.stdout.strip()}")


def passes_interpreted(doppel):
    """On the interpreter; the kernel's vdso has SYSENTER for the usual CPU, for an AMD host's SYSCALL."""
    for model in MODELS:
        passes(doppel, "--engine", "interp", "--cpu", model, rounds=1)


def passes_translated(doppel):
    """On the translator, the same."""
    for model in MODELS:
        passes(doppel, "--engine", "jit", "--direct", "off", "--cpu", model)


def passes_directly(doppel):
    """With user code that runs directly, whether it pays or not."""
    passes(doppel, "--engine", "jit", "--direct", "always")


def passes_on_two_cpus_with_changing_engines(doppel):
    """On two CPUs whose engine changes all the time."""
    passes(doppel, "--switch-every", "20", cpus=2, rounds=2)


def engines_agree(doppel):
    """Interpreted and translated, the machine ends in the same state."""
    with tempfile.TemporaryDirectory() as folder:
        image = initrd(folder)
        hashes = [state_hash(doppel, "--engine", engine, count=INSTRUCTIONS, text=RIGHT, image=image,
                             words=f"doppel.exec=test {SHORT}") for engine in ("interp", "jit")]
        expect(hashes[0] == hashes[1], f"translated {hashes[1]} instead of {hashes[0]}")


def passes_in_lockstep(doppel):
    """Every block leaves registers and memory as the interpreter does."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = doppel.boot(*CHECKED, image=initrd(folder), words=f"doppel.exec=test {SHORT}", limit=300)
        expect_output(outcome, RIGHT)
        checked(outcome, blocks=50_000_000)


TESTS = (passes_on_this_host, passes_interpreted, passes_translated, passes_directly,
         passes_on_two_cpus_with_changing_engines, engines_agree, passes_in_lockstep)
