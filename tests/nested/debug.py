"""gdb on this machine and a guest of a guest: they meet at the second serial port of the host in the emulator."""

import importlib.util
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READY = "nested-debug: ready"
GDB_SECONDS = 420


def load_debugger():
    """tests/system/debugger.py as a module: it knows the kernel's symbols and what gdb has to find."""
    folder = ROOT / "tests" / "system"
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("system_debugger", folder / "debugger.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pump(source, target):
    """Passes bytes on until one side closes."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass


class Debugger:
    """Waits for the emulator's serial port, and lets gdb at it once the guest is there. One for a run."""

    def __init__(self, doppel, folder):
        self.folder = folder
        self.output = ""
        self.thread = None
        self.library = load_debugger()
        self.symbols = self.library.kernel_symbols(doppel)
        self.symbol_file = self.library.build_symbol_file(folder, self.symbols)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.serial = None

    def look(self, text):
        """Starts gdb when the host in the emulator says so; whether gdb is at work."""
        if READY in text and self.thread is None:
            self.thread = threading.Thread(target=self.run)
            self.thread.start()
        return self.thread is not None and self.thread.is_alive()

    def run(self):
        """gdb's whole session."""
        self.serial, _ = self.server.accept()
        script = self.folder / "commands.gdb"
        commands = ["set pagination off", "set confirm off", "set remotetimeout 60", "set architecture i386:x86-64",
                    f"file {self.symbol_file}", f"target remote 127.0.0.1:{self.port}",
                    *self.library.kernel_commands(self.symbols)]
        script.write_text("\n".join(commands) + "\n", encoding="ascii")
        with subprocess.Popen(("gdb", "-nx", "-batch", "-x", str(script)), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as gdb:
            peer, _ = self.server.accept()
            pumps = [threading.Thread(target=pump, args=pair, daemon=True)
                     for pair in ((peer, self.serial), (self.serial, peer))]
            for one in pumps:
                one.start()
            try:
                self.output = gdb.communicate(timeout=GDB_SECONDS)[0]
            except subprocess.TimeoutExpired:
                gdb.kill()
                self.output = gdb.communicate()[0] + "\ngdb did not end"
            peer.close()

    def end(self):
        """After the emulator ended."""
        if self.serial is not None:
            self.serial.close()
        if self.thread is not None:
            self.thread.join()
        self.server.close()

    def check(self):
        """Raises the system tests' Failure where gdb did not find what it had to."""
        (self.folder / "gdb.txt").write_text(self.output, encoding="utf-8")
        self.library.expect_all(self.output, self.library.KERNEL_ANSWERS)
