"""Engines: the same machine on each of them, and on one after the other."""

import re

from doppel import expect, expect_output

INSTRUCTIONS = 150_000_013  # into the middle of the kernel's start
COUNTED = ("--clock", "instructions", "--max-instructions", INSTRUCTIONS, "--print-hash")


def state_hash(doppel, *options, cpus=1):
    """The hash of the machine's state after so many instructions of Linux."""
    outcome = doppel.boot(*COUNTED, *options, cpus=cpus)
    found = re.search(r"state hash ([0-9a-f]{16})", outcome.out)
    expect(outcome.status == 0 and found is not None, f"no hash: {outcome.err[-200:]!r}")
    return found[1]


def engines_agree(doppel):
    """Linux leaves the same state on the interpreter, the translator, and both in turns."""
    for cpus in (1, 2):
        interpreted = state_hash(doppel, "--engine", "interp", cpus=cpus)
        for options in (("--engine", "jit"), ("--engine", "auto"), ("--switch-every", "7")):
            found = state_hash(doppel, *options, cpus=cpus)
            expect(found == interpreted, f"{' '.join(options)} on {cpus} CPUs: {found} instead of {interpreted}")


def engines_change_during_a_boot(doppel):
    """Linux starts, computes and powers off while its engine changes all the time."""
    work = ("doppel:", "seq 1 20000 | sha1sum; poweroff\n")
    outcome = doppel.boot("--switch-every", "20", "--stats", cpus=2, limit=240, replies=(work,))
    expect_output(outcome, "49972ff155d0d5fb6bb9d8f18a7a4c4a2ea9562c")
    expect(outcome.status == 0, f"status {outcome.status}")
    changes = re.search(r"^engine_switches (\d+)$", outcome.err, re.MULTILINE)
    expect(changes is not None and int(changes[1]) > 20, f"too few changes: {changes and changes[0]}")


TESTS = (engines_agree, engines_change_during_a_boot)
