"""The user's terminal: raw while the guest runs, restored however the run ends."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from doppel import CMDLINE, GUEST, Failure, expect, tail

BOOT_LIMIT = 120
LEAVE_LIMIT = 20


class Session:
    """doppel on a terminal of its own; a context manager that leaves nothing running."""

    def __init__(self, doppel, *options, command=None, size=None):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        if size:
            fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
        command = (doppel.binary, *(command or ("run", "--kernel", GUEST / "vmlinuz", "--initrd", GUEST / "initrd.img",
                                                "--cmdline", CMDLINE, *options)))
        self.process = subprocess.Popen([str(word) for word in command], stdin=self.slave, stdout=self.slave,
                                        stderr=self.slave, start_new_session=True)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def wait_for(self, text, limit=BOOT_LIMIT):
        """Reads until the text appears after what was waited for before."""
        end = time.monotonic() + limit
        while text not in self.text:
            if time.monotonic() > end:
                raise Failure(f"no '{text}' in {limit} s; last: {tail(self.text)}")
            if select.select([self.master], [], [], 0.2)[0]:
                self.text += os.read(self.master, 65536).decode("utf-8", "replace")
        self.text = self.text.split(text, 1)[1]

    def type(self, data):
        """Types bytes."""
        os.write(self.master, data)

    def is_raw(self):
        """Whether the terminal neither echoes nor makes signals of characters."""
        return not termios.tcgetattr(self.slave)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)

    def status(self):
        """The exit status, soon."""
        try:
            return self.process.wait(LEAVE_LIMIT)
        except subprocess.TimeoutExpired as late:
            raise Failure(f"still running {LEAVE_LIMIT} s after it was to leave") from late

    def expect_left(self, wanted):
        """The process has ended with this status and the terminal is as before."""
        status = self.status()
        expect(status == wanted, f"status {status} instead of {wanted}; last: {tail(self.text)}")
        expect(termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was")


def escape_x_leaves(doppel):
    """Ctrl-A x ends the run with status 0 and restores the terminal."""
    with Session(doppel) as session:
        session.wait_for("Type 'poweroff'")
        expect(session.is_raw(), "the terminal is not raw while the guest runs")
        session.type(b"\x01x")
        session.expect_left(0)


def power_off_restores_the_terminal(doppel):
    """The guest's own end restores the terminal too."""
    with Session(doppel) as session:
        session.wait_for("Type 'poweroff'")
        session.type(b"poweroff\n")
        session.expect_left(0)


def control_characters_reach_the_guest(doppel):
    """Ctrl-C interrupts in the guest; Ctrl-A a and Ctrl-A Ctrl-A type one Ctrl-A each; other escapes nothing."""
    with Session(doppel) as session:
        session.wait_for("doppel:")
        session.type(b"sleep 1000\n")
        session.wait_for("sleep 1000")
        time.sleep(1)
        session.type(b"\x03")
        session.wait_for("doppel:")
        session.type(b"echo status-$?; stty raw -echo; echo ready; dd bs=1 count=3 2>/dev/null | od -c; stty sane\n")
        session.wait_for("status-130")
        session.wait_for("ready")
        time.sleep(1)
        session.type(b"\x01a\x01q\x01\x01z")
        session.wait_for("001 001   z")
        session.type(b"\x01x")
        session.expect_left(0)


def leaves_on_signal(number):
    """A test that a signal ends the run with the shell's status for it and restores the terminal."""
    def test(doppel):
        with Session(doppel) as session:
            session.wait_for("Type 'poweroff'")
            session.process.send_signal(number)
            session.expect_left(128 + number)
    test.__name__ = f"{number.name.lower()}_restores_the_terminal"
    return test


def bad_option_leaves_the_terminal_alone(doppel):
    """An error before the start does not touch the terminal."""
    with Session(doppel, "--memory", "1") as session:
        status = session.status()
        expect(status in (1, 2), f"status {status}")
        expect(termios.tcgetattr(session.slave) == session.before, "the terminal is not as it was")


def end_of_input_does_not_stop_the_guest(doppel):
    """With nothing to read on standard input the guest runs to its own end."""
    outcome = doppel.boot(words="doppel.exec=none")
    expect("doppel-exec: none ended" in outcome.out and outcome.status == 0, f"status {outcome.status}")


def closed_output_does_not_crash(doppel):
    """The guest runs to its end when nobody reads the console, also not the results."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = (doppel.binary, "run", "--kernel", GUEST / "vmlinuz", "--initrd", GUEST / "initrd.img", "--cmdline",
               f"{CMDLINE} doppel.exec=none", "--stats", "--print-hash", "--print-state")
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=write_end,
                               stderr=write_end)
    os.close(write_end)
    try:
        status = process.wait(BOOT_LIMIT)
    except subprocess.TimeoutExpired as late:
        process.kill()
        raise Failure(f"still running after {BOOT_LIMIT} s") from late
    expect(status == 0, f"status {status} instead of 0")


TESTS = (escape_x_leaves, power_off_restores_the_terminal, control_characters_reach_the_guest,
         *map(leaves_on_signal, (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)), bad_option_leaves_the_terminal_alone,
         end_of_input_does_not_stop_the_guest, closed_output_does_not_crash)
