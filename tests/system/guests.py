"""Unmodified guests from start to end."""

from doppel import GUEST, expect, expect_output

STRESSORS = ("cpu", "vecmath", "fork", "signal", "vm")
ENOUGH_INSTRUCTIONS = 300_000_000  # well inside the kernel's start


def linux_reaches_init_and_powers_off(doppel):
    """The Debian kernel boots to init, and power-off ends the process with status 0."""
    outcome = doppel.boot(words="doppel.exec=none")
    expect_output(outcome, "doppel-init: reached")
    expect_output(outcome, "doppel-exec: none ended with status 0")
    expect(outcome.status == 0, f"status {outcome.status} instead of 0")


def linux_selftest_passes(doppel):
    """Processes, pipes, files, floating point, signals and timers work in the guest."""
    outcome = doppel.boot(words="doppel.exec=selftest")
    expect_output(outcome, "doppel-selftest: PASS")
    expect(outcome.status == 0, f"status {outcome.status} instead of 0")


def stress_ng_verifies(doppel):
    """stress-ng finds no wrong result in its processor, vector, memory, process and signal stressors."""
    outcome = doppel.boot(image="stress.img", limit=600)
    for stressor in STRESSORS:
        expect_output(outcome, f"doppel-stress: {stressor} ended with status 0")
    expect_output(outcome, "doppel-stress: PASS")
    expect(outcome.status == 0, f"status {outcome.status} instead of 0")


def memtest_starts_testing(doppel):
    """memtest86+ draws its screen on the serial line and gets as far as naming a test."""
    doppel_options = ("--kernel", GUEST / "memtest.bin", "--cmdline", "console=ttyS0,115200", "--memory", "64M")
    outcome = doppel.run("run", *doppel_options, limit=120, until="Address test")
    expect_output(outcome, "Memtest86+")
    expect_output(outcome, "Address test")


def shell_answers_and_obeys_ctrl_c(doppel):
    """The default guest's shell runs what is typed, Ctrl-C ends a command, poweroff ends the process."""
    outcome = doppel.boot(replies=(("doppel:", "echo $((6 * 7))-typed; sleep 1000\n"), ("42-typed", "\x03"),
                                   ("doppel:", "echo after-$?\n"), ("after-130", "poweroff\n")))
    expect_output(outcome, "after-130")
    expect(outcome.status == 0, f"status {outcome.status} instead of 0")


def hash_after(doppel, instructions):
    """The line with the machine's state hash after this many instructions."""
    outcome = doppel.boot("--clock", "instructions", "--max-instructions", instructions, "--print-hash", limit=180)
    lines = [line for line in (outcome.out + outcome.err).splitlines() if "hash" in line.lower()]
    expect(len(lines) == 1, f"{len(lines)} lines with a hash instead of 1; status {outcome.status}; "
                            f"errors: {outcome.err[-160:]!r}")
    return lines[0]


def equal_runs_have_equal_hashes(doppel):
    """With the clock driven by instructions, two runs of a boot end in the same state, a longer one does not."""
    first, second = hash_after(doppel, ENOUGH_INSTRUCTIONS), hash_after(doppel, ENOUGH_INSTRUCTIONS)
    expect(first == second, f"'{first}' and '{second}'")
    longer = hash_after(doppel, ENOUGH_INSTRUCTIONS + 1000)
    expect(first != longer, f"'{first}' also after 1000 instructions more")


TESTS = (linux_reaches_init_and_powers_off, linux_selftest_passes, shell_answers_and_obeys_ctrl_c,
         stress_ng_verifies, memtest_starts_testing, equal_runs_have_equal_hashes)
