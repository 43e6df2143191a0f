"""Unmodified guests from start to end."""

import re
import subprocess
import sys

from doppel import GUEST, Skip, expect, expect_output

STRESSORS = ("cpu", "vecmath", "fork", "signal", "vm")
RUN_LENGTHS = (1_000_000, 100_000_000, 700_000_013, None)  # None: to power-off


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


def stress_ng_verifies(doppel, cpus=1):
    """stress-ng finds no wrong result in its processor, vector, memory, process and signal stressors."""
    outcome = doppel.boot(image="stress.img", cpus=cpus, limit=600)
    for stressor in STRESSORS:
        expect_output(outcome, f"doppel-stress: {stressor} ended with status 0")
    expect_output(outcome, "doppel-stress: PASS")
    expect(outcome.status == 0, f"status {outcome.status} instead of 0")


def memtest(doppel, binary, until):
    """memtest86+ on the serial line comes as far as this without an error."""
    outcome = doppel.run("run", "--kernel", binary, "--cmdline", "console=ttyS0,115200", "--memory", "16M", limit=240,
                         until=until)
    expect_output(outcome, "Memtest86+")
    found = re.findall(r"Errors: *(\d+)", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", outcome.out))
    expect(found and set(found) == {"0"}, f"numbers of errors: {found}")


def memtest_finds_no_error(doppel):
    """All tests of the 64-bit memtest86+ but the last, which only waits."""
    memtest(doppel, GUEST / "memtest.bin", "[Bit fade test")


def memtest_for_32_bits_finds_no_error(doppel):
    """The address tests of memtest86+ in 32-bit mode with PAE paging."""
    binaries = sorted(GUEST.glob("packages/memtest86+_*/boot/memtest86+ia32.bin"))
    if not binaries:
        raise Skip("the memtest86+ package is not unpacked; run tools/build-guest")
    memtest(doppel, binaries[0], "[Moving inv")


def shell_answers_and_obeys_ctrl_c(doppel):
    """The default guest's shell runs what is typed, Ctrl-C ends a command, poweroff ends the process."""
    outcome = doppel.boot(replies=(("doppel:", "echo $((6 * 7))-typed; sleep 1000\n"), ("42-typed", "\x03"),
                                   ("doppel:", "echo after-$?\n"), ("after-130", "poweroff\n")))
    expect_output(outcome, "after-130")
    expect(outcome.status == 0, f"status {outcome.status} instead of 0")


def shell_takes_a_long_paste(doppel):
    """100 KB typed at once arrive whole."""
    line = "0123456789abcdef" * 3 + "\n"
    outcome = doppel.boot(replies=(("doppel:", "stty -echo; echo re''ady; cat > /tmp/pasted\n"),
                                   ("ready", line * 2048 + "\x04"), ("doppel:", "wc -c /tmp/pasted; poweroff\n")))
    expect_output(outcome, f"{2048 * len(line)} /tmp/pasted")


def counted_run(doppel, instructions, replies=()):
    """(hash line, instructions) of a run of at most this many on the instruction clock."""
    limits = () if instructions is None else ("--max-instructions", instructions)
    outcome = doppel.boot("--clock", "instructions", *limits, "--print-hash", "--stats", words="doppel.exec=none",
                          limit=180, replies=replies)
    hashes = re.findall(r"^state hash [0-9a-f]{16}$", outcome.out, re.MULTILINE)
    counts = re.findall(r"^instructions (\d+)$", outcome.err, re.MULTILINE)
    expect(len(hashes) == 1 and len(counts) == 1, f"{hashes}, {counts}; status {outcome.status}; "
                                                  f"errors: {outcome.err[-160:]!r}")
    return hashes[0], int(counts[0])


def equal_runs(instructions):
    """A test that two runs of this length, the second on a busy host with input, end in the same state."""
    def test(doppel):
        first = counted_run(doppel, instructions)
        with subprocess.Popen((sys.executable, "-c", "while True: pass")) as load:
            try:
                second = counted_run(doppel, instructions, replies=(("", "typed\n"),))
            finally:
                load.kill()
        expect(first == second, f"{first} and {second}")
        expect(instructions in (None, first[1]), f"{first[1]} instructions instead of {instructions}")
    test.__name__ = f"equal_runs_of_{instructions or 'a_whole_boot'}"
    return test


def one_instruction_more_is_another_state(doppel):
    """The hash sees a single instruction."""
    expect(counted_run(doppel, 1_000_000)[0] != counted_run(doppel, 1_000_001)[0], "equal hashes")


TESTS = (linux_reaches_init_and_powers_off, linux_selftest_passes, shell_answers_and_obeys_ctrl_c,
         shell_takes_a_long_paste,         stress_ng_verifies, memtest_finds_no_error, memtest_for_32_bits_finds_no_error,
         *map(equal_runs, RUN_LENGTHS), one_instruction_more_is_another_state)
