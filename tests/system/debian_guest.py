"""A running Debian guest: its console, its disks, its end."""

import atexit
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from debian_vmm import FILES, Config, Disk, check_available, doppel_command, qemu_command
from doppel import Conversation, Failure, Skip, expect, tail

BOOT_LIMIT = 600  # on a busy host; 20 s on one with nothing else to do
END_LIMIT = 120
DATA_BYTES = 64 << 20
TAP = "tap0"
TAP_HOST = "192.168.77.1"
TAP_GUEST = "192.168.77.2"
# No echo, no line editing: what comes back is only what commands print.
QUIET_SHELL = "stty -echo; PS1= exec sh\n"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def free_port():
    """A TCP port of the host that nobody uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Guest:
    """A Debian guest on a throw-away copy of the image; a context manager."""

    def __init__(self, doppel, cpus=1, data=(), net="user", has_extras=False):
        """`data` are (serial, transport, ring, queues) of empty disks beside the root disk."""
        check_available(doppel)
        self.doppel = doppel
        self.folder = Path(tempfile.mkdtemp(prefix="doppel-debian-"))
        self.ended = 0  # length of the output that earlier commands took
        self.commands = 0
        self.talk = None
        try:
            self.port = free_port()
            self.config = Config(cpus=cpus, disks=self._disks(data), net=self._net(net), has_extras=has_extras)
            self.talk = Conversation(self._command(net), (("", ""),))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _disks(self, data):
        root = self.folder / "root.raw"
        subprocess.run(("cp", "--sparse=always", "--reflink=auto", str(FILES / "disk.raw"), str(root)), check=True)
        disks = [Disk(root, "root")]
        for serial, transport, ring, queues in data:
            path = self.folder / f"{serial}.raw"
            with path.open("wb") as file:
                file.truncate(DATA_BYTES)
            disks.append(Disk(path, serial, transport, ring, queues))
        return disks

    def _net(self, kind):
        return {"user": ("user", self.port), "tap": ("tap", TAP), None: None}[kind]

    def _command(self, net):
        command = (qemu_command(self.config, self.folder / "monitor") if self.doppel.vmm == "qemu" else
                   [*doppel_command(self.doppel.binary, self.config), *self.doppel.engine_words()])
        if net != "tap":
            return command
        script = (f"ip link set lo up && ip tuntap add {TAP} mode tap && ip addr add {TAP_HOST}/24 dev {TAP} && "
                  f"ip link set {TAP} up && exec \"$@\"")
        return ["unshare", "--net", "sh", "-c", script, "sh", *command]

    def log_in(self):
        """Waits for the console's root shell; returns the seconds it took."""
        self._wait_for(lambda: ":~# " in self.text(), BOOT_LIMIT, "no root shell on the console")
        took = self.talk.seconds()
        self.type(QUIET_SHELL)
        self.run("true")
        return took

    def text(self):
        """The console so far."""
        return ESCAPES.sub("", self.talk.out())

    def type(self, text):
        """Types on the console."""
        self.talk.process.stdin.write(text.encode())
        self.talk.process.stdin.flush()

    def _wait_for(self, condition, limit, message):
        end = time.monotonic() + limit
        while not condition():
            if not self.talk.step() and not condition():
                raise Failure(f"{message}: the monitor ended with status {self.talk.process.wait()}; last output: "
                              f"{tail(self.text())}; errors: {tail(self.talk.err())}")
            if time.monotonic() > end:
                raise Failure(f"{message} in {limit} s; last output: {tail(self.text())}")

    def run(self, command, limit=60):
        """(status, output) of a command on the console's shell."""
        self.commands += 1
        mark = re.compile(rf"=end-{self.commands}-(\d+)=")
        self.type(f"{command}\necho \"=end-{self.commands}-$?=\"\n")
        self._wait_for(lambda: mark.search(self.text(), self.ended), limit, f"'{command}' did not end")
        found = mark.search(self.text(), self.ended)
        output = self.text()[self.ended:found.start()]
        self.ended = found.end()
        return int(found[1]), output.strip()

    def output(self, command, limit=60):
        """Output of a command that must succeed."""
        status, text = self.run(command, limit)
        expect(status == 0, f"'{command}' ended with status {status}: {tail(text)}")
        return text

    def script(self, name, text):
        """Puts a shell script into the guest, through the console."""
        self.output(f"cat >/tmp/{name} <<'END'\n{text}\nEND")

    def ssh(self, command, limit=120):
        """(status, output) of a command by ssh from the host."""
        options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                   "-o", f"ConnectTimeout={limit // 2}", "-o", "BatchMode=yes", "-F", "none")
        try:
            done = subprocess.run(("ssh", *options, "-i", str(FILES / "id"), "-p", str(self.port), "root@127.0.0.1",
                                   command), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                                  timeout=limit)
        except FileNotFoundError as absent:
            raise Skip("ssh is not installed") from absent
        except subprocess.TimeoutExpired as late:
            raise Failure(f"ssh '{command}' did not end in {limit} s") from late
        return done.returncode, done.stdout.strip() or done.stderr.strip()

    def press_power_button(self):
        """From outside."""
        if self.doppel.vmm == "qemu":
            with socket.socket(socket.AF_UNIX) as monitor:
                monitor.connect(str(self.folder / "monitor"))
                monitor.sendall(b"system_powerdown\n")
                monitor.recv(4096)
        else:
            self.talk.process.send_signal(signal.SIGPWR)

    def wait_for_end(self, limit=END_LIMIT):
        """The exit status of the monitor, which must end by itself."""
        end = time.monotonic() + limit
        while self.talk.step():
            if time.monotonic() > end:
                raise Failure(f"still running after {limit} s; last output: {tail(self.text())}")
        return self.talk.process.wait()

    def close(self):
        """Ends the monitor if it still runs, and forgets the disks."""
        if self.talk is not None:
            self.talk.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class SharedGuest:
    """One guest for many tests, booted when the first needs it and again when a test left it unusable."""

    def __init__(self, **configuration):
        self.configuration = configuration
        self.guest = None
        atexit.register(self.close)

    def get(self, doppel):
        """The guest, logged in and idle."""
        if self.guest is not None and not self._is_usable():
            self.close()
        if self.guest is None:
            guest = Guest(doppel, **self.configuration)
            try:
                guest.log_in()
            except BaseException:
                guest.close()
                raise
            self.guest = guest
        return self.guest

    def _is_usable(self):
        try:
            return self.guest.run("true", limit=20)[0] == 0
        except (Failure, OSError):
            return False

    def close(self):
        """Ends the guest, if there is one."""
        if self.guest is not None:
            self.guest.close()
            self.guest = None


DATA_DISKS = (("pci-split", "pci", "split", 4), ("pci-packed", "pci", "packed", 1),
              ("mmio-split", "mmio", "split", 1), ("mmio-packed", "mmio", "packed", 1))
SHARED = {}


def full_guest(doppel):
    """The guest that most tests share: 4 CPUs, user-mode network, a disk of every kind that the monitor has, and the
    small devices."""
    if doppel.vmm not in SHARED:
        data = [disk for disk in DATA_DISKS if doppel.vmm != "qemu" or disk[1] == "pci"]
        SHARED[doppel.vmm] = SharedGuest(cpus=4, data=data, has_extras=True)
    return SHARED[doppel.vmm].get(doppel)
