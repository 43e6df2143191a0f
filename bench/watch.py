"""Follows the console of a running benchmark, and makes its initramfs."""

import os
import re
import select
import signal
import time
from pathlib import Path

from peers import GUEST

GUEST_RAM = ("/memfd:guest-ram", "/memfd:memory-backend-memfd")  # doppel's, QEMU's


class Failed(Exception):
    """A peer started and did not finish the benchmark."""


def overhead_kib(pid):
    """Memory of a process that is not the guest's RAM; a page that is mapped twice counts once."""
    total = 0
    is_ram = False
    try:
        with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("Pss:"):
                    total += 0 if is_ram else int(line.split()[1])
                elif not line.split(maxsplit=1)[0].endswith(":"):
                    is_ram = any(name in line for name in GUEST_RAM)
    except OSError:
        return 0
    return total


def stopped_overhead_kib(process):
    """The same, of a process that is made to wait meanwhile."""
    process.send_signal(signal.SIGSTOP)
    total = overhead_kib(process.pid)
    process.send_signal(signal.SIGCONT)
    return total


def last_words(started):
    """The last line on standard error."""
    return (started.messages().strip().splitlines() or ["no message"])[-1]


class Watch:
    """Follows one run's console: stamps its lines, keeps results."""

    def __init__(self):
        self.start = time.monotonic()
        self.result = {"parts": {}, "guest_seconds": {}, "checks": {}, "init": None, "overhead_kib": 0}
        self.part_start = {}
        self.done = False

    def line(self, text):
        """One console line, now."""
        now = time.monotonic()
        if "doppel-init: reached" in text:
            self.result["init"] = now - self.start
        elif match := re.search(r"start (\w+)$", text):
            self.part_start[match[1]] = now
        elif match := re.search(r"bench (\w+) ([\d.]+) ([0-9a-f]+)$", text):
            name = match[1]
            self.result["parts"][name] = now - self.part_start.get(name, now)
            self.result["guest_seconds"][name] = float(match[2])
            self.result["checks"][name] = match[3]
        elif "bench-done" in text:
            self.done = True


def follow(started, limit):
    """Reads the console until the process ends; Failed after `limit` seconds."""
    watch = Watch()
    descriptor = started.console.fileno()
    pending = b""
    process = started.process
    while time.monotonic() - watch.start < limit:
        if select.select([descriptor], [], [], 0.05)[0]:
            data = os.read(descriptor, 65536)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                watch.line(line.decode("latin-1").rstrip("\r"))
            # Once, and while it stands still: what takes milliseconds must not make the next line late.
            if watch.done and watch.result["overhead_kib"] == 0:
                watch.result["overhead_kib"] = stopped_overhead_kib(process)
        elif process.poll() is not None:
            break
    else:
        raise Failed(f"did not finish in {limit} s")
    process.wait()
    if not watch.done:
        raise Failed(f"ended with status {process.returncode} before the benchmark was over: {last_words(started)}")
    watch.result["wall"] = time.monotonic() - watch.start
    return watch.result


def make_image(work, with_tools, bits=64):
    """bench.img, or that of 32 bits, with Debian's programs behind it when they are wanted."""
    plain = GUEST / ("bench.img" if bits == 64 else "bench-32.img")
    if not with_tools:
        return plain
    image = work / "bench.img"
    image.write_bytes(plain.read_bytes() + (GUEST / "bench-tools.img").read_bytes())
    return image
