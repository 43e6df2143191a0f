"""A guest kernel that changes its own code: modules, function tracer, probes, static keys, programs for sockets."""

from debian_guest import Guest
from debian_io import amount
from doppel import ROOT, expect, tail

PROGRAM = ROOT / "tests" / "system" / "programs" / "modified_code.py"
PARTS = ("modules", "probes", "keys", "filters")
COMPLAINTS = r"WARNING:|BUG:|Oops|Call Trace|general protection|ftrace failed|stall|lockup|invalid opcode|traps:"


def kernel_code_changes_under_a_running_cpu(doppel):
    """What is hooked is seen exactly as often as it runs, translated programs compute right, nothing is complained of."""
    rounds = amount(6, 200)
    with Guest(doppel.on("jit"), cpus=2) as guest:
        guest.log_in()
        guest.script("modified.py", PROGRAM.read_text(encoding="ascii"))
        status, text = guest.run(f"python3 /tmp/modified.py {rounds} 2>&1", limit=amount(240, 3600))
        expect(status == 0, f"status {status}: {tail(text)}")
        for part in PARTS:
            expect(f"{part}: {rounds} ok" in text, f"nothing of {part}: {tail(text)}")
        complaints = guest.run(f"dmesg | grep -E '{COMPLAINTS}'")[1]
        expect(not complaints, complaints)


TESTS = (kernel_code_changes_under_a_running_cpu,)
