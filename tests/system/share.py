"""A directory of the host's in the guest, served by virtiofsd."""

import hashlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import overlay
from doppel import CMDLINE, GUEST, Skip, expect, expect_output

DAEMON = Path("/usr/lib/qemu/virtiofsd")
MODULES = ("virtio_pci", "virtio_mmio", "virtiofs")
USE = """
fail() { echo "doppel-share: FAIL $*"; exit 1; }
mkdir -p /mnt
mount -t virtiofs docs /mnt || fail mount
echo "doppel-share: sum $(md5sum </mnt/big)"
cp /bin/busybox /mnt/true
/mnt/true || fail program does not run
seq 1 50000 >/mnt/written
umount /mnt
echo "doppel-share: PASS"
"""
LOSE = """
mkdir -p /mnt
mount -t virtiofs docs /mnt && echo share-mounted
read answer
cat /mnt/big >/dev/null 2>/tmp/error || echo "doppel-share: $(cat /tmp/error)"
"""


class Share:
    """A directory with a large file, and a daemon that serves it while the block runs."""

    def __enter__(self):
        if not DAEMON.exists():
            raise Skip(f"no {DAEMON}; install qemu-system-common")
        if os.geteuid() != 0:
            raise Skip("virtiofsd needs root")
        self.work = tempfile.TemporaryDirectory()
        self.folder = Path(self.work.name)
        self.directory = self.folder / "served"
        self.directory.mkdir()
        self.data = os.urandom(8 << 20)
        (self.directory / "big").write_bytes(self.data)
        self.socket = self.folder / "socket"
        self.daemon = subprocess.Popen((DAEMON, f"--socket-path={self.socket}", "-o", f"source={self.directory}",
                                        "-o", "sandbox=chroot"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       start_new_session=True)
        end = time.monotonic() + 10
        while not self.socket.exists() and time.monotonic() < end:
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.kill()
        self.work.cleanup()

    def kill(self):
        """Ends the daemon and its child, without a word to anybody."""
        if self.daemon.poll() is None:
            os.killpg(self.daemon.pid, signal.SIGKILL)
            self.daemon.wait()

    def command(self, script, placement):
        """The arguments that boot a guest with the share."""
        image = overlay.initrd(self.folder, MODULES, script)
        return ("run", "--kernel", GUEST / "vmlinuz", "--initrd", image, "--cmdline", f"{CMDLINE} doppel.exec=test",
                "--share", f"docs,socket={self.socket},{placement}")


def serves(placement):
    """A test that reads, writes and runs files with this placement."""
    def test(doppel):
        with Share() as share:
            outcome = doppel.run(*share.command(USE, placement))
            expect_output(outcome, "doppel-share: PASS")
            expect_output(outcome, f"sum {hashlib.md5(share.data).hexdigest()}")
            expect((share.directory / "written").read_text() == "".join(f"{n}\n" for n in range(1, 50001)),
                   "what the guest wrote is not what the host reads")
            expect("lost its daemon" not in outcome.err, outcome.err)
    test.__name__ = "share_" + placement.replace("transport=", "").replace(",ring=", "_")
    return test


def a_lost_daemon_gives_errors(doppel):
    """When the daemon goes, requests fail, it is said once, and the guest goes on."""
    with Share() as share:
        class Answer(str):
            """Kills the daemon when it is typed."""
            def encode(self, *arguments):
                share.kill()
                time.sleep(0.5)
                return super().encode(*arguments)
        outcome = doppel.run(*share.command(LOSE, "transport=pci"), replies=(("share-mounted", Answer("go\n")),))
        expect_output(outcome, "Input/output error")
        expect(outcome.err.count("lost its daemon") == 1, outcome.err)
        expect(outcome.status == 0, f"status {outcome.status} instead of 0")


def a_missing_daemon_is_one_line(doppel):
    """No daemon: one clear line, status 1."""
    outcome = doppel.run("run", "--kernel", GUEST / "vmlinuz", "--share", "docs,socket=/nowhere/socket")
    expect(outcome.status == 1 and len(outcome.err.splitlines()) == 1, f"{outcome.status}, {outcome.err!r}")


TESTS = (serves("transport=pci,ring=split"), serves("transport=mmio,ring=packed"), a_lost_daemon_gives_errors,
         a_missing_daemon_is_one_line)
