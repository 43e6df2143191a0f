"""Translations that one machine leaves in a file for the next."""

import re
import tempfile
from pathlib import Path

from doppel import expect, expect_output
from lockstep import CHECKED, SHORT, TWO_CPUS_INSTRUCTIONS, checked


def counts(outcome):
    """The translators' counters, all CPUs together, by name."""
    sums = {}
    for name, value in re.findall(r"^(jit_\w+) (\d+)$", outcome.err, re.MULTILINE):
        sums[name] = sums.get(name, 0) + int(value)
    return sums


def selftest(doppel, cache, *options, cpus=1):
    """One start of the kernel with its self-test; the counters."""
    outcome = doppel.on("jit").boot("--jit-cache", cache, "--stats", *options, words="doppel.exec=selftest", cpus=cpus)
    expect_output(outcome, "doppel-selftest: PASS")
    expect(outcome.status == 0, f"status {outcome.status}: {outcome.err[-300:]!r}")
    return counts(outcome)


def later_machines_reuse_translations(doppel):
    """A second start translates next to nothing; one with other CPU features finds nothing to reuse."""
    with tempfile.TemporaryDirectory(prefix="doppel-cache-") as folder:
        cache = Path(folder) / "cache"
        first = selftest(doppel, cache)
        expect(first["jit_reused"] == 0 and first["jit_translations"] > 50_000, f"first start: {first}")
        expect(cache.stat().st_mode & 0o777 == 0o600, "the cache is not its owner's alone")
        second = selftest(doppel, cache)
        expect(second["jit_translations"] * 10 < first["jit_translations"], f"second start: {second}, first: {first}")
        expect(second["jit_reused"] * 2 > first["jit_translations"], f"second start: {second}, first: {first}")
        other = selftest(doppel, cache, "--cpu", "x86-64-v2")
        expect(other["jit_reused"] == 0, f"with another CPU: {other}")
        expect([path.name for path in Path(folder).iterdir()] == ["cache"], "files were left behind")


def two_cpus_share_the_cache(doppel):
    """Both CPUs add to it, and both find what either added."""
    with tempfile.TemporaryDirectory(prefix="doppel-cache-") as folder:
        cache = Path(folder) / "cache"
        first = selftest(doppel, cache, cpus=2)
        second = selftest(doppel, cache, cpus=2)
        expect(second["jit_translations"] * 5 < first["jit_translations"], f"second start: {second}, first: {first}")


def reused_translations_run_in_lockstep(doppel):
    """What comes from the file does what the interpreter does."""
    with tempfile.TemporaryDirectory(prefix="doppel-cache-") as folder:
        cache = Path(folder) / "cache"
        for number in range(2):
            outcome = doppel.boot(*CHECKED, "--jit-cache", cache, "--max-instructions", TWO_CPUS_INSTRUCTIONS,
                                  words=SHORT, limit=300)
            checked(outcome, blocks=10_000_000)
            reused = counts(outcome)["jit_reused"]
            expect((reused > 20_000) == (number == 1), f"start {number}: {reused} blocks were reused")


TESTS = (later_machines_reuse_translations, two_cpus_share_the_cache, reused_translations_run_in_lockstep)
