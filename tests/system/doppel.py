"""Runs the real binary for the system tests."""

import os
import select
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
GUEST = ROOT / "build" / "guest"
CMDLINE = "console=ttyS0 quiet panic=-1"


class Failure(Exception):
    """A test's expectation did not hold."""


class Skip(Exception):
    """A test cannot run here; the message says why."""


class Outcome:
    """How one run of the binary ended."""

    def __init__(self, status, out, err, seconds):
        self.status = status
        self.out = out
        self.err = err
        self.seconds = seconds


class Conversation:
    """A running process whose output is collected and whose input is typed when it asks."""

    def __init__(self, command, replies):
        self.start = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE if replies else subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.data = {self.process.stdout: b"", self.process.stderr: b""}
        self.waiting = list(self.data)
        self.replies = list(replies)
        self.answered = 0

    def step(self):
        """Waits a moment for output and answers it; False when the process has closed its output."""
        for stream in select.select(self.waiting, [], [], 0.2)[0]:
            data = os.read(stream.fileno(), 65536)
            self.data[stream] += data
            if not data:
                self.waiting.remove(stream)
        self.answer()
        return bool(self.waiting)

    def answer(self):
        """Types the next reply when its text came after what was answered before."""
        printed = self.data[self.process.stdout]
        if self.replies and self.replies[0][0].encode() in printed[self.answered:]:
            self.answered = len(printed)
            self.process.stdin.write(self.replies.pop(0)[1].encode())
            self.process.stdin.flush()

    def end(self):
        """Stops the process if it still runs, and closes everything."""
        if self.waiting:
            self.process.kill()
        self.process.wait()
        for stream in (*self.data, self.process.stdin):
            if stream is not None:
                stream.close()

    def out(self):
        """Standard output so far."""
        return self.data[self.process.stdout].decode("utf-8", "replace")

    def err(self):
        """Standard error so far."""
        return self.data[self.process.stderr].decode("utf-8", "replace")

    def seconds(self):
        """Since the start."""
        return time.monotonic() - self.start


class Doppel:
    """The binary under test; one object for all tests, which may run several machines from it."""

    def __init__(self, binary, vmm="doppel", engine=None, extra=()):
        self.binary = binary
        self.vmm = vmm  # "qemu": tests of the Debian guest run it in QEMU instead
        self.engine = engine  # of machines whose test does not choose one
        self.extra = extra  # words that go with the engine

    def on(self, engine, *extra):
        """The same binary, running machines with this engine and these options of it."""
        return Doppel(self.binary, self.vmm, engine, extra)

    def engine_words(self, arguments=("run",)):
        """What a command line needs so that the machine has the engine."""
        is_machine = arguments[:1] == ("run",) and "--engine" not in arguments
        return ("--engine", self.engine, *self.extra) if self.engine and is_machine else ()

    def run(self, *arguments, limit=120, until=None, replies=()):
        """Runs `doppel ARGUMENTS` to its end, or until `until` is on its output; Failure after `limit` seconds.

        Each of `replies`, (text, answer) in order, is typed once its text is on the output.
        """
        command = (self.binary, *arguments, *self.engine_words(arguments))
        conversation = Conversation([*map(str, command)], replies)
        try:
            while conversation.step() and not (until is not None and until in conversation.out()):
                if conversation.seconds() > limit:
                    raise Failure(f"still running after {limit} s; last output: {tail(conversation.out())}")
        finally:
            conversation.end()
        return Outcome(conversation.process.returncode, conversation.out(), conversation.err(),
                       conversation.seconds())

    def boot(self, *options, image="initrd.img", words="", memory="512M", cpus=1, limit=120, until=None, replies=()):
        """Boots the Debian kernel with one of the images."""
        return self.run("run", "--kernel", GUEST / "vmlinuz", "--initrd", GUEST / image, "--cmdline",
                        f"{CMDLINE} {words}".strip(), "--memory", memory, "--cpus", cpus, *options,
                        limit=limit, until=until, replies=replies)


def tail(text):
    """The last words of an output, in one line."""
    return repr(text[-160:])


def expect(condition, message):
    """Failure with the message unless the condition holds."""
    if not condition:
        raise Failure(message)


def expect_output(outcome, text):
    """The guest must have printed this."""
    expect(text in outcome.out, f"no '{text}' in the output; last: {tail(outcome.out)}; "
                                f"errors: {tail(outcome.err)}")
