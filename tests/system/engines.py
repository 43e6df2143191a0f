"""Engines: the same machine on each of them, and on one after the other."""

import re
import tempfile
from pathlib import Path

import counters
from doppel import expect, expect_output

INSTRUCTIONS = 150_000_013  # into the middle of the kernel's start
KERNEL_TEXT = 0xffffffff81000000
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


def observers_see_a_boot(doppel):
    """Profile, dump and metrics of one boot speak of the kernel's code, and of the same."""
    with tempfile.TemporaryDirectory() as folder:
        profile, dump, metrics, symbols = (Path(folder) / name for name in ("profile", "dump", "metrics", "symbols"))
        symbols.write_text(f"{KERNEL_TEXT:016x} T kernel_text\n", encoding="ascii")
        outcome = doppel.boot("--engine", "jit", "--profile", profile, "--profile-symbols", symbols, "--jit-dump",
                              f"{dump},count=50", "--stats-file", metrics, words="nokaslr",
                              replies=(("doppel:", "poweroff\n"),))
        expect(outcome.status == 0, f"status {outcome.status}: {outcome.err[-200:]!r}")
        lines = profile.read_text(encoding="ascii").splitlines()
        samples = int(lines[0].split()[1])
        rows = [line.split() for line in lines[2:]]
        expect(samples > 100, f"too few samples: {lines[0]}")
        expect(sum(int(row[1]) for row in rows) == samples, "the rows are not all samples")
        expect(any(int(row[2]) > 0 and row[5] == "kernel" for row in rows), "no translated kernel code was seen")
        expect(any(int(row[3]) > 0 for row in rows), "no miss of the TLB was seen")
        text = dump.read_text(encoding="ascii")
        expect(text.count("\nblock ") + text.startswith("block ") == 50, "not 50 blocks in the dump")
        expect("slow path" in text and "jrcxz" in text, "no host code in the dump")
        samples = counters.parse(metrics.read_text(encoding="ascii"))
        translations = counters.total(samples, "translator_events", 'event="translations"')
        interpreted = counters.total(samples, "translator_events", 'event="interpreted"')
        expect(translations > 10000, f"{translations} translations")
        expect(counters.total(samples, "translator_interpreted") == interpreted, "mnemonics do not add up")
        expect(counters.total(samples, "translator_interpreted", 'instruction="cpuid"') > 100, "no CPUID was interpreted")


TESTS = (engines_agree, engines_change_during_a_boot, observers_see_a_boot)
