"""Linux on several CPUs."""

import re
import tempfile

import overlay
from doppel import expect, expect_output

COMPLAINTS = "'BUG:|WARNING:|Call Trace|stall|soft lockup|unsynchronized|not responding|failed to'"
# All online, work on all at once, and the second one taken away and brought back while the others work.
WORK = f"""
fail() {{ echo "doppel-smp: FAIL $*"; exit 1; }}
spin() {{ i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; }}
cpus=$(grep -c ^processor /proc/cpuinfo)
echo "doppel-smp: $cpus CPUs, online $(cat /sys/devices/system/cpu/online)"
for n in $(seq 1 $((2 * cpus))); do spin & done
wait
busy=$(awk '/^cpu[0-9]/ && $2 + $4 > 0' /proc/stat | wc -l)
[ "$busy" = "$cpus" ] || fail "only $busy CPUs did anything"
for round in 1 2 3; do
  spin &
  echo 0 >/sys/devices/system/cpu/cpu1/online || fail cannot stop a CPU
  echo 1 >/sys/devices/system/cpu/cpu1/online || fail cannot start a CPU again
  wait
done
[ "$(grep -c ^processor /proc/cpuinfo)" = "$cpus" ] || fail a CPU did not come back
dmesg | grep -E {COMPLAINTS} && fail complaints in dmesg
echo "doppel-smp: PASS"
"""


def all_work(cpus):
    """A test that Linux finds, uses, stops and starts this many CPUs."""
    def test(doppel):
        with tempfile.TemporaryDirectory() as folder:
            image = overlay.initrd(folder, (), WORK)
            outcome = doppel.boot(image=image, cpus=cpus, words="doppel.exec=test", limit=300)
        expect_output(outcome, f"doppel-smp: {cpus} CPUs, online 0-{cpus - 1}")
        expect_output(outcome, "doppel-smp: PASS")
        expect(outcome.status == 0, f"status {outcome.status} instead of 0")
    test.__name__ = f"linux_uses_{cpus}_cpus"
    return test


def four_cpus_repeat_exactly(doppel):
    """Two runs of four CPUs on the instruction clock end in the same state."""
    hashes = []
    for _ in range(2):
        outcome = doppel.boot("--clock", "instructions", "--max-instructions", 900_000_000, "--print-hash", cpus=4,
                              words="doppel.exec=none", limit=300)
        hashes += re.findall(r"^state hash ([0-9a-f]{16})$", outcome.out, re.MULTILINE)
    expect(len(hashes) == 2 and hashes[0] == hashes[1], f"state hashes {hashes}")


def the_selftest_passes_on_four_cpus(doppel):
    """Processes, pipes, files, signals and timers work with four CPUs."""
    outcome = doppel.boot(cpus=4, words="doppel.exec=selftest", limit=300)
    expect_output(outcome, "doppel-selftest: PASS")
    expect(outcome.status == 0, f"status {outcome.status} instead of 0")


def wrong_numbers_are_refused(doppel):
    """Neither no CPU, nor more than 64, nor a host CPU that is not there."""
    for options in (("--cpus", 0), ("--cpus", 65), ("--cpus", 2, "--pin", "1023"), ("--pin", "3-1")):
        outcome = doppel.run("run", "--kernel", "/dev/null", *options)
        expect(outcome.status == 2 and outcome.err.count("\n") == 1, f"{options}: {outcome.status}, {outcome.err}")


TESTS = (all_work(2), all_work(4), the_selftest_passes_on_four_cpus, four_cpus_repeat_exactly,
         wrong_numbers_are_refused)
