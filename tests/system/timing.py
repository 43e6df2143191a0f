"""The guest's clock against the host's, and what an idle guest costs."""

import os
import re
import time

from doppel import CMDLINE, GUEST, Conversation, Failure, expect, tail

IDLE_SECONDS = 4
MOST_IDLE_LOAD = 0.10  # of one host CPU
SLEEP_SECONDS = 2
MOST_LATE_SECONDS = 0.5  # on a busy host


class Shell:
    """A running guest with a shell; a context manager."""

    def __init__(self, doppel, words=""):
        command = (doppel.binary, "run", "--kernel", GUEST / "vmlinuz", "--initrd", GUEST / "initrd.img",
                   "--cmdline", f"{CMDLINE} {words}".strip())
        self.talk = Conversation([str(word) for word in command], (("", ""),))
        self.seen = 0

    def __enter__(self):
        self.wait_for("doppel:")
        return self

    def __exit__(self, *_):
        self.talk.end()

    def wait_for(self, text, limit=120):
        """Reads until the text comes; returns the time it came."""
        end = time.monotonic() + limit
        while text not in self.talk.out()[self.seen:]:
            if time.monotonic() > end:
                raise Failure(f"no '{text}' in {limit} s; last: {tail(self.talk.out())}")
            self.talk.step()
        self.seen = self.talk.out().index(text, self.seen) + len(text)
        return time.monotonic()

    def type(self, text):
        """Types a line."""
        self.talk.process.stdin.write(text.encode() + b"\n")
        self.talk.process.stdin.flush()

    def cpu_seconds(self):
        """Host CPU time of the process so far."""
        with open(f"/proc/{self.talk.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sleep_takes_its_time(doppel, words=""):
    """`sleep` in the guest lasts as long on the host's clock and on the guest's."""
    with Shell(doppel, words) as shell:
        shell.type(f"echo be\"\"gin; cut -d' ' -f1 /proc/uptime; sleep {SLEEP_SECONDS}; "
                   "cut -d' ' -f1 /proc/uptime; echo en\"\"d")
        begin = shell.wait_for("begin")
        text_start = shell.seen
        host = shell.wait_for("end") - begin
        times = [float(match) for match in re.findall(r"^(\d+\.\d+)\r?$", shell.talk.out()[text_start:], re.MULTILINE)]
        expect(len(times) == 2, f"{len(times)} times instead of 2: {tail(shell.talk.out())}")
        guest = times[1] - times[0]
    expect(SLEEP_SECONDS - 0.05 <= host <= SLEEP_SECONDS + MOST_LATE_SECONDS, f"{host:.2f} s of host time")
    expect(SLEEP_SECONDS - 0.05 <= guest <= SLEEP_SECONDS + MOST_LATE_SECONDS, f"{guest:.2f} s of guest time")


def sleep_takes_its_time_without_the_paravirtual_clock(doppel):
    """The same where the guest finds out by itself how fast its TSC runs."""
    sleep_takes_its_time(doppel, "no-kvmclock")


def idle_guest_costs_little(doppel):
    """A guest at its prompt uses almost no host CPU."""
    with Shell(doppel) as shell:
        time.sleep(2)  # the kernel's own background work after the start
        before = shell.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        used = shell.cpu_seconds() - before
    expect(used <= MOST_IDLE_LOAD * IDLE_SECONDS, f"{used:.2f} s of CPU time in {IDLE_SECONDS} s")


def clock_shows_the_host_time(doppel):
    """The guest's wall clock is the host's."""
    with Shell(doppel) as shell:
        shell.type("echo now-$(date +%s)-")
        shell.wait_for("\nnow-")
        host = time.time()
        shell.wait_for("-")
        guest = int(re.findall(r"\nnow-(\d+)-", shell.talk.out())[-1])
    expect(abs(guest - host) <= 3, f"{guest} in the guest, {host:.0f} on the host")


TESTS = (sleep_takes_its_time, sleep_takes_its_time_without_the_paravirtual_clock, idle_guest_costs_little,
         clock_shows_the_host_time)
