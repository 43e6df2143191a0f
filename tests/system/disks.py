"""Virtio disks in real guests: file systems, raw transfers, every transport, what the host's file holds afterwards."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import overlay
from doppel import GUEST, Failure, Skip, expect, expect_output

MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk")
MIB = 1 << 20
DISK_BYTES = 48 * MIB

# A file system is made, filled, mounted again and compared; then four writers at once each verify their own part.
FILE_SYSTEM = """
fail() { echo "disk-test: FAIL $*"; exit 1; }
mke2fs -F /dev/vda >/dev/null || fail mke2fs
mkdir -p /mnt
mount /dev/vda /mnt || fail mount
dd if=/dev/urandom of=/tmp/random bs=1M count=8 2>/dev/null
cp /tmp/random /mnt/random && cp /bin/busybox /mnt/busybox || fail cp
umount /mnt && mount /dev/vda /mnt || fail mounting again
cmp /tmp/random /mnt/random && cmp /bin/busybox /mnt/busybox || fail cmp
echo "disk-test: sum $(md5sum </mnt/random | cut -c 1-32)"
umount /mnt || fail umount
echo "disk-test: PASS"
"""

# Each worker writes pieces of random bytes past the page cache all over its quarter and reads each back.
VERIFY = """
fail() { echo "disk-test: FAIL $*"; exit 1; }
worker() {
  dd if=/dev/urandom of=/tmp/in$1 bs=64k count=1 2>/dev/null
  i=0
  while [ $i -lt 12 ]; do
    at=$(( $1 * 128 + (i * 37) % 128 ))
    dd if=/tmp/in$1 of=/dev/vda bs=64k seek=$at oflag=direct conv=notrunc 2>/dev/null || fail write
    dd if=/dev/vda of=/tmp/out$1 bs=64k skip=$at count=1 iflag=direct 2>/dev/null || fail read
    cmp /tmp/in$1 /tmp/out$1 || fail compare
    i=$((i + 1))
  done
  echo "disk-test: worker $1 done"
}
for n in 0 1 2 3; do worker $n & done
wait
dd if=/scripts/test of=/dev/vda bs=1M seek=40 conv=notrunc 2>/dev/null || fail buffered write
sync
echo "disk-test: serial $(cat /sys/block/vda/serial) queues $(ls /sys/block/vda/mq | wc -l)"
echo "disk-test: PASS"
"""


class Bench:
    """A folder with a disk and the initrd of one script."""

    def __init__(self, script):
        self.work = tempfile.TemporaryDirectory(prefix="doppel-disk-")
        self.folder = Path(self.work.name)
        self.disk = self.folder / "disk"
        with open(self.disk, "wb") as file:
            file.truncate(DISK_BYTES)
        overlay.initrd(self.folder, MODULES, script)

    def boot(self, doppel, target=None, keys="", words="", **options):
        """Runs the script with the disk as /dev/vda, and expects the machine to power off."""
        outcome = doppel.run("run", "--kernel", GUEST / "vmlinuz", "--initrd", self.folder / "initrd.img", "--cmdline",
                             f"console=ttyS0 quiet panic=-1 doppel.exec=test {words}".strip(), "--memory", "256M",
                             "--disk", f"{target or self.disk}{keys}", *options.pop("arguments", ()),
                             limit=options.pop("limit", 240))
        if "disk-test: FAIL" in outcome.out:
            raise Failure(re.search(r"disk-test: FAIL.*", outcome.out)[0])
        expect(outcome.status == 0, f"status {outcome.status}: {outcome.err[-200:]!r}")
        return outcome

    def bytes_at(self, offset, count):
        """What the host's file holds."""
        with open(self.disk, "rb") as file:
            file.seek(offset)
            return file.read(count)


def need(program):
    """Skip, unless the program is there."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise Skip(f"{program} is not installed; run tools/install-deps test")
    return found


@contextlib.contextmanager
def nbd_server(bench, *arguments):
    """The address of an nbdkit that serves, with its plugin, filters and parameters."""
    nbdkit = need("nbdkit")
    socket, ready = bench.folder / "socket", bench.folder / "ready"  # the second is written once it listens
    with subprocess.Popen((nbdkit, "--foreground", "-U", socket, "-P", ready, *arguments),
                          stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(500):
                if ready.exists():
                    break
                time.sleep(0.01)
            yield f"nbd+unix:///?socket={socket}"
        finally:
            server.terminate()


def file_system(doppel, keys):
    """The guest's file system is sound on the host, and holds the same bytes."""
    check, debug = need("e2fsck"), need("debugfs")
    bench = Bench(FILE_SYSTEM)
    outcome = bench.boot(doppel, keys=keys)
    expect_output(outcome, "disk-test: PASS")
    done = subprocess.run((check, "-f", "-n", bench.disk), capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"e2fsck: {done.stdout[-200:]!r}")
    copy = bench.folder / "random"
    subprocess.run((debug, "-R", f"dump /random {copy}", bench.disk), capture_output=True, check=True)
    inside = re.search(r"disk-test: sum (\w+)", outcome.out)[1]
    expect(hashlib.md5(copy.read_bytes()).hexdigest() == inside, "the host's file holds other bytes")


def a_file_system_survives(doppel):
    """Through the page cache."""
    file_system(doppel, "")


def a_file_system_survives_direct_io(doppel):
    """Past the host's page cache."""
    file_system(doppel, ",direct=on")


def verify(doppel, keys):
    """Four workers read back what they wrote; the host finds the last write."""
    bench = Bench(VERIFY)
    outcome = bench.boot(doppel, keys=f",serial=verify-1{keys}")
    expect_output(outcome, "disk-test: PASS")
    expect_output(outcome, f"disk-test: serial verify-1 queues 1")
    for worker in range(4):
        expect_output(outcome, f"disk-test: worker {worker} done")
    script = (overlay.LOAD + VERIFY).encode()
    expect(bench.bytes_at(40 * MIB, len(script)) == script, "the host's file holds other bytes")


def pci_split(doppel):
    """virtio-pci, split ring."""
    verify(doppel, "")


def pci_packed(doppel):
    """virtio-pci, packed ring."""
    verify(doppel, ",ring=packed")


def mmio_split(doppel):
    """virtio-mmio, split ring."""
    verify(doppel, ",transport=mmio")


def mmio_packed(doppel):
    """virtio-mmio, packed ring."""
    verify(doppel, ",transport=mmio,ring=packed")


def four_queues_on_two_cpus(doppel):
    """A request queue for each CPU, and completions while both run."""
    bench = Bench(VERIFY)
    outcome = bench.boot(doppel, keys=",serial=verify-1,queues=4", arguments=("--cpus", "2"))
    expect_output(outcome, "disk-test: PASS")
    expect_output(outcome, "disk-test: serial verify-1 queues 2")


def an_nbd_server_serves_a_disk(doppel):
    """The same through nbdkit."""
    bench = Bench(VERIFY)
    with nbd_server(bench, "file", bench.disk) as target:
        outcome = bench.boot(doppel, target=target)
    expect_output(outcome, "disk-test: PASS")


def a_failing_server_gives_errors_and_no_more(doppel):
    """Every second read of nbdkit fails: the guest sees I/O errors and goes on."""
    bench = Bench("dd if=/dev/vda of=/dev/null bs=64k count=64 iflag=direct && echo disk-test: no error\n"
                  "dd if=/dev/zero of=/dev/vda bs=64k count=4 oflag=direct && echo disk-test: goes on\n")
    with nbd_server(bench, "--filter=error", "file", bench.disk, "error=EIO", "error-pread-rate=50%") as target:
        outcome = bench.boot(doppel, target=target)
    expect_output(outcome, "Input/output error")
    expect_output(outcome, "disk-test: goes on")
    expect("disk-test: no error" not in outcome.out, "no read failed")


def a_read_only_disk_stays_as_it_is(doppel):
    """Writes fail in the guest."""
    bench = Bench("cat /sys/block/vda/ro\n"
                  "dd if=/scripts/test of=/dev/vda oflag=direct bs=512 conv=notrunc || echo disk-test: refused\n")
    before = hashlib.md5(bench.disk.read_bytes()).hexdigest()
    expect_output(bench.boot(doppel, keys=",readonly=on"), "disk-test: refused")
    expect(hashlib.md5(bench.disk.read_bytes()).hexdigest() == before, "the disk changed")


def discarded_blocks_go_back_to_the_host(doppel):
    """blkdiscard in the guest frees the host's blocks."""
    bench = Bench("blkdiscard /dev/vda && echo disk-test: PASS\n")
    bench.disk.write_bytes(os.urandom(8 * MIB) + bytes(DISK_BYTES - 8 * MIB))
    before = bench.disk.stat().st_blocks
    expect_output(bench.boot(doppel), "disk-test: PASS")
    after = bench.disk.stat()
    expect(after.st_blocks < before / 10, f"{after.st_blocks} blocks of {before} are left")
    expect(after.st_size == DISK_BYTES, "the size changed")


def bandwidth_is_limited(doppel):
    """8 MiB at 4 MiB a second take about two seconds, less what may be saved up."""
    bench = Bench("cat /proc/uptime >/tmp/a; dd if=/dev/vda of=/dev/null bs=256k count=32 iflag=direct 2>/dev/null\n"
                  "echo disk-test: from $(cut -d ' ' -f 1 /tmp/a) to $(cut -d ' ' -f 1 /proc/uptime) end\n")
    outcome = bench.boot(doppel, keys=",bandwidth=4M")
    times = re.search(r"from ([\d.]+) to ([\d.]+) end", outcome.out)
    seconds = float(times[2]) - float(times[1])
    expect(1.5 <= seconds <= 6, f"{seconds:.2f} s")


def runs_with_a_disk_repeat_exactly(doppel):
    """With the instruction clock, two runs from equal disks end in equal machines."""
    bench = Bench("dd if=/dev/vda of=/tmp/x bs=256k count=8 iflag=direct 2>/dev/null\n"
                  "dd if=/tmp/x of=/dev/vda bs=64k seek=100 conv=notrunc 2>/dev/null; sync\n")
    hashes = []
    for _ in range(2):
        bench.disk.write_bytes(bytes(DISK_BYTES))
        outcome = bench.boot(doppel, arguments=("--clock", "instructions", "--print-hash"))
        hashes.append(re.search(r"state hash (\w+)", outcome.out)[1])
    expect(hashes[0] == hashes[1], f"hashes {hashes}")


TESTS = (
    pci_split,
    pci_packed,
    mmio_split,
    mmio_packed,
    four_queues_on_two_cpus,
    a_file_system_survives,
    a_file_system_survives_direct_io,
    an_nbd_server_serves_a_disk,
    a_failing_server_gives_errors_and_no_more,
    a_read_only_disk_stays_as_it_is,
    discarded_blocks_go_back_to_the_host,
    bandwidth_is_limited,
    runs_with_a_disk_repeat_exactly,
)
