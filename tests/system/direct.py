"""The most telling guests with user code that runs directly, whether it pays or not."""

import debian
import guests
import smp
from doppel import expect, expect_output


def always_directly(test):
    """The same test with --direct always."""
    def direct(doppel):
        test(doppel.on("jit", "--direct", "always"))
    direct.__name__ = f"{test.__name__}_direct"
    return direct


def stress_ng_verifies_on_two_cpus(doppel):
    """stress-ng finds no wrong result while two CPUs run their user code directly."""
    guests.stress_ng_verifies(doppel, cpus=2)


def computing_code_runs_directly(doppel):
    """Without being told, code that computes is run directly, and gives the results it gives translated."""
    results = []
    for direct in ("auto", "off"):
        outcome = doppel.boot("--engine", "jit", "--direct", direct, "--stats", image="bench.img",
                              words="-- crc32,sha256,bytecode")
        results.append([line.split()[1::2] for line in outcome.out.splitlines() if line.startswith("bench ")])
        expect_output(outcome, "bench bytecode")
        rounds = [int(line.split()[1]) for line in outcome.err.splitlines() if line.startswith("direct_rounds ")]
        expect((rounds != [] and rounds[0] > 0) == (direct == "auto"), f"--direct {direct}: {rounds} rounds")
    expect(results[0] != [] and [line[1] for line in results[0]] == [line[1] for line in results[1]],
           f"{results[0]} directly, {results[1]} translated")


TESTS = (computing_code_runs_directly, *map(always_directly, (
    guests.linux_selftest_passes, smp.all_work(2), stress_ng_verifies_on_two_cpus, debian.boots_on(2))))
