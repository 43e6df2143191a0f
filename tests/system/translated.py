"""The most telling guests on engines that the other tests do not use: the translator."""

import debian
import guests
import smp


def on_translator(test):
    """The same test with --engine jit."""
    def translated(doppel):
        test(doppel.on("jit"))
    translated.__name__ = f"{test.__name__}_jit"
    return translated


def stress_ng_verifies_on_two_cpus(doppel):
    """stress-ng finds no wrong result while two CPUs run translated code."""
    guests.stress_ng_verifies(doppel, cpus=2)


TESTS = tuple(map(on_translator, (
    guests.linux_selftest_passes, smp.all_work(2), smp.the_selftest_passes_on_four_cpus, guests.memtest_finds_no_error,
    stress_ng_verifies_on_two_cpus, debian.boots_on(2))))
