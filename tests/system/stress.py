"""Every stressor of stress-ng that loads the processor, the memory or its interrupts, one after the other."""

from debian_guest import SharedGuest
from debian_io import amount
from doppel import expect, tail

SECONDS = amount(1, 15)  # of each of some 120 stressors: half an hour in a soak
LIMIT = 2400
# As a service, whose end by the OOM killer is not also that of the console; 3: a stressor lacks something here.
COMMAND = f"""systemd-run --quiet --wait --pipe -p OOMPolicy=continue stress-ng --class {{}} --sequential 2 --verify \
  --timeout {SECONDS} --temp-path /tmp </dev/null 2>&1"""
GOOD = (0, 3)
COMPLAINTS = "rcu.*stall|soft lockup|hung task|BUG:|WARNING:|Oops|general protection fault.*kernel"
GUEST = SharedGuest(cpus=2)


def class_verifies(name):
    """A test that no stressor of this class finds a wrong result on two CPUs, and the kernel has nothing to say."""
    def test(doppel):
        guest = GUEST.get(doppel.on("jit"))
        guest.output("dmesg -C")
        status, text = guest.run(COMMAND.format(name), limit=LIMIT)
        expect(status in GOOD and "fail:" not in text and "successful run" in text, f"status {status}: {tail(text)}")
        _, said = guest.run(f"dmesg | grep -E '{COMPLAINTS}'")
        expect(said == "", f"the kernel says: {tail(said)}")
    test.__name__ = f"{name}_stressors_verify"
    return test


TESTS = tuple(map(class_verifies, ("cpu", "vm", "interrupt")))
