"""Counters: what --stats prints, and whether --stats-file is what Prometheus reads."""

import re
import signal
import tempfile
from pathlib import Path

from doppel import CMDLINE, GUEST, Conversation, expect

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(\{{{LABEL}(?:,{LABEL})*\}})? ([0-9]+(?:\.[0-9]+)?)")
SECONDS = 240


def parse(text):
    """Samples of a file in Prometheus' text format 0.0.4, strictly: a Failure for any line that breaks it."""
    expect(text.endswith("\n"), "the file does not end with a newline")
    samples, types, current = {}, {}, None
    for line in text.splitlines():
        words = line.split(" ", 3)
        if line.startswith("# TYPE "):
            expect(words[2] not in types and words[3] == "counter", f"second or odd type: {line}")
            current = words[2]
            types[current] = words[3]
        elif line.startswith("# HELP "):
            expect(len(words) == 4 and words[2] not in types, f"help after type, or empty: {line}")
        else:
            match = SAMPLE.fullmatch(line)
            expect(match is not None, f"not a sample: {line}")
            expect(match[1] == current, f"sample outside its kind: {line}")
            expect(match[1].endswith("_total"), f"a counter's name ends in _total: {line}")
            expect((match[1], match[2]) not in samples, f"twice: {line}")
            samples[match[1], match[2]] = float(match[3])
    return samples


def total(samples, name, words=""):
    """Sum of the samples of one kind whose labels have these words."""
    return sum(value for (kind, labels), value in samples.items()
               if kind == f"doppel_{name}_total" and words in (labels or ""))


def wait_for_file(machine, path):
    """Text of a file once it is there."""
    while not path.exists():
        expect(machine.step() and machine.seconds() < SECONDS, f"no statistics: {machine.err()}")
    return path.read_text(encoding="ascii")


def counters_in_a_file(doppel):
    """SIGUSR1 writes the file while the guest runs, its end writes it again, and counters only grow."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "metrics"
        machine = Conversation([str(doppel.binary), "run", "--kernel", str(GUEST / "vmlinuz"), "--initrd",
                                str(GUEST / "initrd.img"), "--cmdline", CMDLINE, "--engine", "interp", "--stats",
                                "--stats-file", str(path)],
                               [("doppel:", "echo half-$((40 + 2))\n"), ("half-42", "sleep 1; poweroff\n")])
        try:
            while "half-42" not in machine.out():
                expect(machine.step() and machine.seconds() < SECONDS, "no shell")
            machine.process.send_signal(signal.SIGUSR1)
            early = parse(wait_for_file(machine, path))
            while machine.step():
                expect(machine.seconds() < SECONDS, "no end")
        finally:
            machine.end()
        expect(machine.process.returncode == 0, f"status {machine.process.returncode}")
        late = parse(path.read_text(encoding="ascii"))
    shrunk = [key for key, value in early.items() if late.get(key, 0) < value]
    expect(not shrunk, f"counters that shrank: {shrunk}")
    check_values(late)
    expect("exits: Exits from guest code" in machine.err(), "no table in what --stats printed")


def check_values(samples):
    """Relations that hold for every Linux boot."""
    expect(total(samples, "instructions") > 100e6, "too few instructions")
    expect(total(samples, "exits", 'reason="halt"') > 0, "no halt")
    expect(total(samples, "exits", 'reason="port write"') >= total(samples, "bus_accesses", 'device="uart16550"') / 2 > 0,
           "the serial port was not used through ports")
    expect(total(samples, "exit_time_seconds", 'reason="halt"') > 0.5, "the guest slept for a second, but did not halt")
    seconds, exits = total(samples, "bus_access_time_seconds"), total(samples, "exit_time_seconds")
    halts = total(samples, "exit_time_seconds", 'reason="halt"')
    expect(0 < seconds <= exits - halts, f"{seconds} s in devices, {exits} s in exits, {halts} of them in halts")
    uart = [total(samples, "bus_access_time_seconds", f'device="uart16550",access="{way}"') for way in ("read", "write")]
    expect(all(uart), f"{uart} s in the serial port")
    expect(total(samples, "interrupts") > 0 and total(samples, "interrupt_requests") > 0, "no interrupts")
    misses, hits = (total(samples, "tlb_lookups", f'result="{word}"') for word in ("miss", "hit"))
    expect(hits > 10 * misses > 0, f"{hits} hits and {misses} misses")
    plain, small, large = (total(samples, "page_walk_references", word) for word in ("one dim", "4 KiB", "2 MiB"))
    expect(4 * plain < small < 7 * plain and plain < large < small, f"walk references {plain}, {small}, {large}")


TESTS = (counters_in_a_file,)
