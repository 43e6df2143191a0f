"""Engines: the same machine on each of them, and on one after the other."""

import re
import tempfile
from pathlib import Path

import counters
import overlay
from doppel import expect, expect_output

INSTRUCTIONS = 150_000_013  # into the middle of the kernel's start
DEVICE_INSTRUCTIONS = 20_000_000_000  # to the end
KERNEL_TEXT = 0xffffffff81000000
DEVICE_MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_rng", "virtio_balloon", "virtio_console")
# Interrupts on all CPUs, and memory whose pages were code before.
USE_DEVICES = """
dd if=/dev/hwrng of=/dev/null bs=16 count=4 2>/dev/null && echo hello >/dev/hvc0 
for i in 0 1 2 3; do
  for round in 1 2 3; do
    dd if=/dev/zero of=/dev/vda bs=4096 count=8 seek=$((i * 100)) oflag=direct 2>/dev/null
    seq 1 1000 | sort -rn | md5sum
  done &
done
wait
echo devices-done
"""


def state_hash(doppel, *options, count=INSTRUCTIONS, text="", **boot):
    """The hash of the machine's state after so many instructions of Linux, which has printed `text`."""
    counted = ("--clock", "instructions", "--max-instructions", count, "--print-hash")
    outcome = doppel.boot(*counted, *options, **boot)
    found = re.search(r"state hash ([0-9a-f]{16})", outcome.out)
    expect(outcome.status == 0 and found is not None, f"no hash: {outcome.err[-200:]!r}")
    expect_output(outcome, text)
    return found[1]


def engines_agree(doppel):
    """Linux leaves the same state on the interpreter, the translator, and both in turns."""
    for cpus in (1, 2):
        interpreted = state_hash(doppel, "--engine", "interp", cpus=cpus)
        for options in (("--engine", "jit"), ("--engine", "auto"), ("--switch-every", "7")):
            found = state_hash(doppel, *options, cpus=cpus)
            expect(found == interpreted, f"{' '.join(options)} on {cpus} CPUs: {found} instead of {interpreted}")


def engines_agree_about_devices(doppel):
    """So they do with four CPUs that use a disk, the entropy device, the balloon and the virtio console."""
    with tempfile.TemporaryDirectory() as folder:
        image = overlay.initrd(folder, DEVICE_MODULES, USE_DEVICES)

        def found(*options):
            """The hash, with an empty disk."""
            disk = Path(folder) / "disk"
            disk.unlink(missing_ok=True)
            with disk.open("wb") as file:
                file.truncate(16 << 20)
            return state_hash(doppel, *options, "--disk", f"{disk},iops=400,ring=packed,queues=2", "--rng",
                              "on,transport=mmio", "--balloon", "16M,transport=mmio,ring=packed", "--console", "none",
                              count=DEVICE_INSTRUCTIONS, text="devices-done", image=image, words="doppel.exec=test",
                              cpus=4, limit=300)

        interpreted = found("--engine", "interp")
        translated = found("--engine", "jit")
        expect(translated == interpreted, f"translated {translated} instead of {interpreted}")
        changing = found("--switch-every", "50")
        expect(changing == interpreted, f"changing engines {changing} instead of {interpreted}")


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


TESTS = (engines_agree, engines_agree_about_devices, engines_change_during_a_boot, observers_see_a_boot)
