"""Network cards and sockets between host and guest, with a real guest kernel's drivers."""

import contextlib
import hashlib
import http.server
import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import overlay
from doppel import expect, expect_output

MODULES = ("virtio_pci", "virtio_mmio", "virtio_net")
DONE = "doppel-exec: test ended with status 0"
PAYLOAD = bytes(range(256)) * 4096
# What udhcpc runs with what it learnt.
DHCP = """cat > /dhcp <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router"
echo "dhcp: $ip $router $dns"
END
chmod +x /dhcp
ip link set lo up
ip link set eth0 up
udhcpc -q -n -f -i eth0 -s /dhcp || exit 1
"""


class Server(http.server.BaseHTTPRequestHandler):
    """Serves PAYLOAD at every path."""

    def do_GET(self):  # noqa: N802 (the base class's name)
        """Answers with the payload."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAYLOAD)))
        self.end_headers()
        self.wfile.write(PAYLOAD)

    def log_message(self, *_):
        """Nothing."""


@contextlib.contextmanager
def web_server():
    """An HTTP server on loopback; its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port():
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Echo(threading.Thread):
    """Connects with `connect` again and again until what it sends comes back."""

    def __init__(self, connect, size=300_000, limit=60):
        super().__init__()
        self.connect = connect
        self.data = os.urandom(size)
        self.end = time.monotonic() + limit
        self.came_back = False
        self.start()

    def attempt(self):
        """One connection."""
        with self.connect() as peer:
            peer.settimeout(20)
            sender = threading.Thread(target=self.send, args=(peer,))
            sender.start()
            got = b""
            with contextlib.suppress(OSError):
                while len(got) < len(self.data):
                    part = peer.recv(65536)
                    if not part:
                        break
                    got += part
            sender.join()
            return got == self.data

    def send(self, peer):
        """Everything."""
        with contextlib.suppress(OSError):
            peer.sendall(self.data)

    def run(self):
        """Until it worked."""
        while not self.came_back and time.monotonic() < self.end:
            with contextlib.suppress(OSError):
                self.came_back = self.attempt()
            time.sleep(0.2)


def boot(doppel, script, *options, modules=MODULES, files=()):
    """Runs the script in a guest with its drivers loaded."""
    with tempfile.TemporaryDirectory() as folder:
        image = overlay.initrd(folder, modules, script, files=files)
        outcome = doppel.boot(*options, image=image, words="doppel.exec=test", limit=120)
    expect_output(outcome, DONE)
    return outcome


def user_network(doppel, keys):
    """DHCP, the gateway, a download from the host's loopback and a forwarded port."""
    port = free_port()
    with web_server() as web:
        script = DHCP + ("ping -c 2 10.0.2.2 || exit 1\n"
                         f"wget -q -O - http://10.0.2.2:{web}/ | md5sum\n"
                         "nc -l -p 7 -e cat\n")
        echo = Echo(lambda: socket.create_connection(("127.0.0.1", port), timeout=5))
        outcome = boot(doppel, script, "--net", f"user,hostfwd=tcp:127.0.0.1:{port}-:7{keys}")
        echo.join()
    expect_output(outcome, "dhcp: 10.0.2.15 10.0.2.2 10.0.2.3")
    expect_output(outcome, hashlib.md5(PAYLOAD).hexdigest())
    expect(echo.came_back, "nothing came back through the forwarded port")


def user_network_pci(doppel):
    """Behind PCI with the split ring."""
    user_network(doppel, "")


def user_network_pci_packed(doppel):
    """Behind PCI with the packed ring."""
    user_network(doppel, ",ring=packed")


def user_network_mmio(doppel):
    """Behind MMIO, with two queue pairs."""
    user_network(doppel, ",transport=mmio,queues=2")


def restricted_network(doppel):
    """With restrict=on the host's loopback is out of reach."""
    with web_server() as web:
        outcome = boot(doppel, f"{DHCP}wget -q -T 3 -O - http://10.0.2.2:{web}/ | md5sum\n",
                       "--net", "user,restrict=on")
    expect(hashlib.md5(PAYLOAD).hexdigest() not in outcome.out, "the guest reached the host")


def vsock_program():
    """The guest's program, built once."""
    target = Path(tempfile.gettempdir()) / f"doppel-vsock-{os.getpid()}"
    return target if target.exists() else overlay.program(target, ("vsock.c",))


def vsock_connect(path, port):
    """Connects to a port of the guest."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(5)
    try:
        peer.connect(path)
        peer.sendall(b"CONNECT %d\n" % port)
        answer = b""
        while not answer.endswith(b"\n"):
            byte = peer.recv(1)
            if not byte:
                raise OSError("refused")
            answer += byte
    except OSError:
        peer.close()
        raise
    return peer


def vsock(doppel, keys=""):
    """Both sides connect to each other."""
    program = vsock_program()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/v"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"{path}_80")
            server.listen()

            def answer():
                peer = server.accept()[0]
                with peer:
                    peer.sendall(b"host heard " + peer.recv(100))

            thread = threading.Thread(target=answer, daemon=True)
            thread.start()
            echo = Echo(lambda: vsock_connect(path, 1234))
            outcome = boot(doppel, "vsock send 2 80 hello || exit 1\nvsock echo 1234\n", "--vsock", f"{path},cid=7{keys}",
                           modules=("virtio_pci", "virtio_mmio", "vmw_vsock_virtio_transport"),
                           files=(("bin/vsock", program),))
            echo.join()
    program.unlink()
    expect_output(outcome, "vsock: host heard hello")
    expect(echo.came_back, "nothing came back from the guest's port")


def vsock_pci(doppel):
    """Behind PCI with the split ring."""
    vsock(doppel)


def vsock_mmio_packed(doppel):
    """Behind MMIO with the packed ring."""
    vsock(doppel, ",transport=mmio,ring=packed")


TESTS = (user_network_pci, user_network_pci_packed, user_network_mmio, restricted_network, vsock_pci,
         vsock_mmio_packed)
