"""Commands for a running machine over its control socket, good and hostile ones."""

import os
import re
import socket
import stat
import tempfile
from pathlib import Path

import counters
from doppel import CMDLINE, GUEST, Conversation, expect
from virtio import boot, resident

SECONDS = 180
# What the guest holds and gives back is seen in the host's pages. Free memory is told after each change of the balloon.
BALLOON = """
free() { sed -n 's/^MemFree: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; }
mark() { echo "mark-$1 free-$(free)-kB"; read answer; }
fill() { dd if=/dev/zero of=/tmp/fill bs=1M count=200 2>/dev/null || echo fill-FAILED; rm /tmp/fill; }
mount -o remount,size=400M /tmp
fill
mark dirty
mark small
mark large
fill
mark filled
"""


class Client:
    """A connection to a control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(path))
        self.data = b""

    def line(self):
        """The next answer."""
        while b"\n" not in self.data:
            more = self.socket.recv(65536)
            expect(more, f"the connection ended after {self.data!r}")
            self.data += more
        line, self.data = self.data.split(b"\n", 1)
        return line.decode("ascii")

    def ask(self, text):
        """Sends a line and returns its answer."""
        self.socket.sendall(text if isinstance(text, bytes) else text.encode() + b"\n")
        return self.line()


class Machine:
    """A running guest with a control socket; a context manager that leaves nothing running."""

    def __init__(self, doppel, folder, command):
        self.path = Path(folder) / "control"
        arguments = [str(doppel.binary), *map(str, command), "--control", f"unix:{self.path}"]
        self.conversation = Conversation(arguments, (("never", ""),))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.conversation.end()

    def wait_for(self, pattern):
        """Until the guest has printed this; the match."""
        while not (match := re.search(pattern, self.conversation.out())):
            expect(self.conversation.step() and self.conversation.seconds() < SECONDS,
                   f"no {pattern}: {self.conversation.out()[-300:]} {self.conversation.err()[-300:]}")
        return match

    def answer(self):
        """Types Enter."""
        self.conversation.process.stdin.write(b"\n")
        self.conversation.process.stdin.flush()

    def end(self):
        """The exit status, soon."""
        while self.conversation.step():
            expect(self.conversation.seconds() < SECONDS, "no end")
        return self.conversation.process.wait()


def shell(*options):
    """The arguments of a guest that ends in a shell."""
    return ("run", "--kernel", GUEST / "vmlinuz", "--initrd", GUEST / "initrd.img", "--cmdline", CMDLINE, "--engine",
            "interp", *options)


def commands_are_answered(doppel):
    """Every command has its answer; quit ends the machine and removes the socket."""
    with tempfile.TemporaryDirectory() as folder, Machine(doppel, folder, shell("--balloon", "0")) as machine:
        machine.wait_for("Type 'poweroff'")
        expect(stat.S_IMODE(os.stat(machine.path).st_mode) & 0o077 == 0, "others may use the socket")
        client = Client(machine.path)
        expect(all(word in client.ask("help") for word in ("balloon", "engine", "statistics", "quit")), "help")
        file = Path(folder) / "metrics"
        expect(client.ask(f"statistics {file}") == "ok", "statistics")
        samples = counters.parse(file.read_text(encoding="ascii"))
        expect(counters.total(samples, "instructions") > 100e6, "the counters are not this machine's")
        expect(client.ask("statistics /nonexistent/file").startswith("error: statistics: /nonexistent/file"), "bad file")
        expect(client.ask("balloon 64M") == "ok", "balloon")
        report = client.ask("balloon-statistics")
        expect(report == "ok target=67108864 actual=0 fresh=no", f"without a driver: {report}")
        expect(client.ask("power-button") == "ok", "power-button")
        expect(client.ask("engine interp") == "ok", "engine interp")
        expect(client.ask("engine kvm").startswith("error: "), "a machine without KVM changed to it")
        expect(client.ask("engine jit") == "ok", "engine jit")
        expect(client.ask("engine interp") == "ok", "engine interp, from jit")
        expect(client.ask("quit") == "ok", "quit")
        expect(machine.end() == 0, "status")
        expect(not machine.path.exists(), "the socket is left")


def bad_lines_lose_nothing(doppel):
    """Nonsense gets one error line each, and nothing of it disturbs the machine or another client."""
    with tempfile.TemporaryDirectory() as folder, Machine(doppel, folder, shell()) as machine:
        machine.wait_for("Type 'poweroff'")
        client, other = Client(machine.path), Client(machine.path)
        lines = (b"\n", b"fly\n", b"\x00\xff\x1b[2J\n", b"quit now\n", b"balloon\n", b"balloon -1\n", b"balloon 1M\n",
                 b"balloon 99999999999999999999G\n", b"engine steam\n", b"statistics\n", b"statistics a\x00b\n",
                 b"QUIT\n", b"x" * 5000 + b"\n", b"quit" + b" " * 100000 + b"\n")
        for line in lines:
            answer = client.ask(line)
            expect(re.fullmatch(r"error: [ -~]+", answer), f"{line[:40]!r} is answered with {answer!r}")
        other.socket.sendall(b"he")
        client.socket.sendall(b"help\n" * 20000)  # more answers than a socket holds
        other.socket.sendall(b"lp\n")
        expect(other.line().startswith("ok"), "another client waits")
        expect(all(client.line().startswith("ok balloon") for _ in range(20000)), "an answer is missing")
        client.socket.sendall(b"unfinished")
        client.socket.close()
        crowd = [Client(machine.path) for _ in range(20)]
        for one in crowd[:16]:
            one.socket.close()
        expect(crowd[-1].ask("help").startswith("ok"), "the last of many clients waits for ever")
        expect(other.ask("quit") == "ok" and machine.end() == 0, "quit")


def balloon_shrinks_and_grows_back(doppel):
    """The guest's memory goes to the host on command, and comes back."""
    with tempfile.TemporaryDirectory() as folder:
        command = boot(folder, ("virtio_pci", "virtio_balloon"), BALLOON, "--balloon", "0,reporting=off")
        with Machine(doppel, folder, command) as machine:
            sizes, free = {}, {}

            def stand(mark):
                free[mark] = int(machine.wait_for(rf"mark-{mark} free-(\d+)-kB")[1]) // 1024
                sizes[mark] = resident(machine.conversation.process)

            def inflate(client, mebibytes):
                expect(client.ask(f"balloon {mebibytes}M") == "ok", "balloon")
                while f"actual={mebibytes << 20} " not in client.ask("balloon-statistics"):
                    expect(machine.conversation.step() and machine.conversation.seconds() < SECONDS, "no change")

            stand("dirty")
            client = Client(machine.path)
            expect(client.ask("balloon 513M").startswith("error: balloon:"), "more than there is")
            inflate(client, 256)
            machine.answer()
            stand("small")
            report = client.ask("balloon-statistics")
            fields = dict(word.split("=") for word in report.split()[1:])
            expect(fields["fresh"] == "yes" and abs(int(fields["free"]) / 2**20 - free["small"]) < 64, report)
            inflate(client, 0)
            machine.answer()
            stand("large")
            machine.answer()
            stand("filled")
            file = Path(folder) / "metrics"
            expect(client.ask(f"statistics {file}") == "ok", "statistics")
            samples = counters.parse(file.read_text(encoding="ascii"))
            for kind in ("bus_accesses", "bus_access_time_seconds"):
                expect(counters.total(samples, kind, 'device="virtio_balloon 01.0"'), f"no {kind} of the balloon by name")
            expect("fill-FAILED" not in machine.conversation.out(), "the guest could not use its memory again")
            expect(free["small"] < free["dirty"] - 200 < free["large"] - 150, f"MiB free in the guest: {free}")
            expect(sizes["small"] < sizes["dirty"] - 100, f"MiB held by the host: {sizes}")
            expect(sizes["filled"] > sizes["small"] + 100, f"MiB held by the host: {sizes}")


TESTS = (commands_are_answered, bad_lines_lose_nothing, balloon_shrinks_and_grows_back)
