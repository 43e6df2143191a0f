"""Linux's own drivers on the virtio devices, behind both transports and with both kinds of rings."""

import tempfile
from pathlib import Path

import overlay
from doppel import CMDLINE, GUEST, Conversation, Failure, expect, expect_output, tail

MODULES = ("virtio_pci", "virtio_mmio", "virtio_rng", "virtio_console")
COMPLAINTS = "'virtio.*(fail|error|invalid|broken|unexpected|not )|nobody cared|Call Trace|BUG:|WARNING:'"
WALK = f"""
fail() {{ echo "doppel-virtio: FAIL $*"; exit 1; }}
case "$(cat /sys/class/misc/hw_random/rng_current)" in virtio_rng.*) ;; *) fail no hwrng ;; esac
dd if=/dev/hwrng of=/tmp/first bs=1024 count=4 iflag=fullblock 2>/dev/null
dd if=/dev/hwrng of=/tmp/second bs=1024 count=4 iflag=fullblock 2>/dev/null
[ "$(wc -c </tmp/first)" = 4096 ] || fail hwrng is short
cmp -s /tmp/first /tmp/second && fail hwrng repeats itself
stty -F /dev/hvc0 raw -echo || fail no hvc0
exec 3<>/dev/hvc0
echo console-asks >&3
read line <&3
echo "console-heard $line" >&3
seq 1 20000 >&3
dmesg | grep -E {COMPLAINTS} && fail complaints in dmesg
echo "doppel-virtio: PASS"
"""
# Fills and frees 200 MiB, so that the host holds them although the guest needs them no more.
DIRTY = """
mark() { echo "mark-$1"; read answer; }
mark booted
mount -o remount,size=400M /tmp
dd if=/dev/zero of=/tmp/fill bs=1M count=200 2>/dev/null
rm /tmp/fill
mark dirty
insmod /modules/virtio_balloon.ko
sleep 6
mark end
"""


def boot(folder, modules, script, *options, unloaded=()):
    """The arguments that boot with these modules loaded and run the script."""
    image = overlay.initrd(folder, modules, script, unloaded)
    return ("run", "--kernel", GUEST / "vmlinuz", "--initrd", image, "--cmdline", f"{CMDLINE} doppel.exec=test",
            "--memory", "512M", *options)


def walk(placement):
    """A test of entropy and console with this placement."""
    def test(doppel):
        with tempfile.TemporaryDirectory() as folder:
            command = boot(folder, MODULES, WALK, "--rng", f"on,{placement}", "--console", f"terminal,{placement}")
            outcome = doppel.run(*command, replies=(("console-asks", "typed words\n"),))
        expect_output(outcome, "console-heard typed words")
        expect("\n".join(map(str, range(1, 20001))) in outcome.out.replace("\r", ""), "lines of hvc0 are missing")
        expect_output(outcome, "doppel-virtio: PASS")
        expect(outcome.status == 0, f"status {outcome.status} instead of 0")
    test.__name__ = "rng_and_console_" + placement.replace("transport=", "").replace(",ring=", "_")
    return test


def resident(process):
    """MiB of guest RAM that the host holds for a process."""
    for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssShmem:"):
            return int(line.split()[1]) // 1024
    raise Failure("no RssShmem in the process's status")


def measured(doppel, *options):
    """MiB that the host holds when the guest is booted, has freed its memory, and at the end."""
    with tempfile.TemporaryDirectory() as folder:
        command = boot(folder, ("virtio_pci",), DIRTY, *options, unloaded=("virtio_balloon",))
        conversation = Conversation([str(doppel.binary), *map(str, command)], (("never", ""),))
        sizes = []
        try:
            for mark in ("mark-booted", "mark-dirty", "mark-end"):
                while mark not in conversation.out():
                    expect(conversation.step() and conversation.seconds() < 180,
                           f"no {mark}; last output: {tail(conversation.out())}")
                sizes.append(resident(conversation.process))
                conversation.process.stdin.write(b"\n")
                conversation.process.stdin.flush()
        finally:
            conversation.end()
    return sizes


def balloon_returns_memory(doppel):
    """Inflating gives what the guest does not need back to the host."""
    booted, dirty, end = measured(doppel, "--balloon", "256M,reporting=off")
    expect(dirty >= booted + 150, f"{booted} MiB, then {dirty} MiB: the guest did not touch its memory")
    expect(end <= dirty - 100, f"{dirty} MiB before the balloon, {end} MiB with it")


def reporting_returns_memory(doppel):
    """Pages that the guest reports as free go back to the host without a balloon."""
    booted, dirty, end = measured(doppel, "--balloon", "0")
    expect(dirty >= booted + 150, f"{booted} MiB, then {dirty} MiB: the guest did not touch its memory")
    expect(end <= dirty - 100, f"{dirty} MiB before reporting, {end} MiB after it")


TESTS = (*(walk(f"transport={transport},ring={ring}") for transport in ("pci", "mmio") for ring in ("split", "packed")),
         balloon_returns_memory, reporting_returns_memory)
