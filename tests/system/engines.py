"""The most telling guests on engines that the other tests do not use: the translator."""

import re

import debian
import guests
import smp
from doppel import expect

COUNTED_LENGTH = 400_000_000


def on_translator(test):
    """The same test with --engine jit."""
    def translated(doppel):
        test(doppel.on("jit"))
    translated.__name__ = f"{test.__name__}_jit"
    return translated


def stress_ng_verifies_on_two_cpus(doppel):
    """stress-ng finds no wrong result while two CPUs run translated code."""
    guests.stress_ng_verifies(doppel, cpus=2)


def engines_count_alike(doppel):
    """On the instruction clock a boot comes to the same state, whichever engine runs it."""
    hashes = {}
    for engine in ("interp", "jit"):
        outcome = doppel.on(engine).boot("--clock", "instructions", "--max-instructions", COUNTED_LENGTH,
                                         "--print-hash", words="doppel.exec=none", limit=180)
        hashes[engine] = re.findall(r"^state hash ([0-9a-f]{16})$", outcome.out, re.MULTILINE)
    expect(len(hashes["interp"]) == 1 and hashes["interp"] == hashes["jit"], f"state hashes {hashes}")


TESTS = (engines_count_alike, *map(on_translator, (
    guests.linux_selftest_passes, smp.all_work(2), smp.the_selftest_passes_on_four_cpus, guests.memtest_finds_no_error,
    stress_ng_verifies_on_two_cpus, debian.boots_on(2))))
