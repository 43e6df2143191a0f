"""Disks and network of the Debian guest under load, and drivers that come and go."""

import json
import os
import shutil
import subprocess
import time

from debian_guest import DATA_DISKS, TAP, TAP_GUEST, TAP_HOST, Guest, free_port, full_guest
from doppel import Skip, expect, tail

IS_SOAK = os.environ.get("DOPPEL_SOAK") == "1"
HOST_SEEN_BY_GUEST = "10.0.2.2"  # user-mode network
REBINDS = 100
REBIND_LIMIT = 600
SETTLE_LIMIT = 300  # on a busy host; udev has hundreds of events to work off
HAS_ADDRESS = "until ip -4 addr show scope global | grep -q inet; do sleep 1; done"

# Loads a driver until it is unbound, whatever errors that means for it.
REBIND_BLOCK = """
disk=$1 device=$2 count=$3
while [ ! -e /tmp/stop ]; do dd if=$disk of=/dev/null bs=64k iflag=direct; sleep 0.02; done >/dev/null 2>&1 &
i=0
while [ $i -lt $count ]; do
  echo $device >/sys/bus/virtio/drivers/virtio_blk/unbind || exit 1
  echo $device >/sys/bus/virtio/drivers/virtio_blk/bind || exit 2
  i=$((i + 1))
done
touch /tmp/stop
wait
rm /tmp/stop
"""
REBIND_OTHER = """
driver=$1 device=$2 count=$3 i=0
while [ $i -lt $count ]; do
  echo $device >/sys/bus/virtio/drivers/$driver/unbind || exit 1
  echo $device >/sys/bus/virtio/drivers/$driver/bind || exit 2
  i=$((i + 1))
done
"""


def amount(short, long):
    """A duration or another amount of work: the long one in a soak."""
    return long if IS_SOAK else short


def disk_named(guest, serial):
    """The device file of a disk, by its serial number; Skip when this guest has none."""
    if serial not in [disk.serial for disk in guest.config.disks]:
        raise Skip("QEMU's default machine has no virtio-mmio")
    names = guest.output("for d in /sys/block/vd*; do echo $(cat $d/serial) ${d##*/}; done").splitlines()
    found = [name.split()[1] for name in names if name.split()[0] == serial]
    expect(len(found) == 1, f"{len(found)} disks with serial number {serial}: {names}")
    return f"/dev/{found[0]}"


def fio_verifies(serial, transport, ring):
    """A test that mixed reads and writes of mixed sizes return what was written, on this kind of disk."""
    def test(doppel):
        guest = full_guest(doppel)
        disk = disk_named(guest, serial)
        length = "--time_based --runtime=150" if IS_SOAK else "--loops=1"
        status, text = guest.run(
            f"fio --name=mix --filename={disk} --rw=randrw --bsrange=512-128k --blockalign=512 --direct=1 "
            f"--ioengine=libaio --iodepth=16 --size={amount(24, 64)}M {length} --verify=crc32c --verify_backlog=256 "
            "--verify_fatal=1 --randseed=7 --fsync=64 --minimal 2>&1", limit=amount(300, 600))
        expect(status == 0 and "verify:" not in text, f"status {status}: {tail(text)}")
    test.__name__ = f"fio_verifies_{transport}_{ring}"
    return test


def iperf(guest, server_prefix, address):
    """Both directions between the guest and an iperf3 server on the host, seen at this address."""
    if shutil.which("iperf3") is None:
        raise Skip("iperf3 is not installed on the host")
    for direction in ("", "-R"):
        port = free_port()
        with subprocess.Popen((*server_prefix, "iperf3", "-s", "-1", "-p", str(port)), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                time.sleep(1)
                status, text = guest.run(f"iperf3 -J -c {address} -p {port} -n {amount(4, 400)}M {direction}",
                                         limit=amount(120, 600))
            finally:
                server.kill()
        expect(status == 0, f"iperf3 {direction} ended with status {status}: {tail(text)}")
        moved = json.loads(text)["end"]["sum_received"]["bytes"]
        expect(moved >= amount(3, 300) << 20, f"only {moved} bytes arrived {direction}")


def iperf_through_user_network(doppel):
    """TCP both ways between guest and host without privileges on the host."""
    iperf(full_guest(doppel), (), HOST_SEEN_BY_GUEST)


def iperf_through_tap(doppel):
    """TCP both ways through a tap interface, which lives in a network namespace of the monitor's own."""
    if os.geteuid() != 0 or subprocess.run(("unshare", "--net", "true"), check=False).returncode != 0:
        raise Skip("a tap interface in a network namespace needs root")
    if not os.path.exists("/dev/net/tun"):
        raise Skip("the host has no /dev/net/tun")
    with Guest(doppel, net="tap") as guest:
        guest.log_in()
        name = guest.output("ls /sys/class/net | grep -v '^lo$'")
        guest.output(f"ip link set {name} up && ip addr add {TAP_GUEST}/24 dev {name} && sleep 1")
        inside = ("nsenter", "--net", "--target", str(guest.talk.process.pid))
        ping = subprocess.run((*inside, "ip", "-s", "link", "show", TAP), capture_output=True, text=True, check=False)
        expect(ping.returncode == 0, f"no {TAP} beside the monitor: {ping.stderr.strip()}")
        iperf(guest, inside, TAP_HOST)


def virtio_devices(guest, driver):
    """Names like virtio0 of the devices that a driver has."""
    return [name for name in guest.run(f"ls /sys/bus/virtio/drivers/{driver}")[1].split() if name[-1:].isdigit()]


def block_driver_comes_and_goes(doppel):
    """virtio_blk, unbound and bound again while its disk is read; afterwards the disk still works."""
    guest = full_guest(doppel)
    guest.script("rebind-block", REBIND_BLOCK)
    for disk in guest.config.disks[1:]:
        file = disk_named(guest, disk.serial)
        device = guest.output(f"basename $(readlink -f /sys/block/{file.rsplit('/', 1)[1]}/device)")
        status, text = guest.run(f"sh /tmp/rebind-block {file} {device} {REBINDS} 2>&1", limit=REBIND_LIMIT)
        expect(status == 0, f"{disk.serial}: status {status}: {tail(text)}")
        guest.output(f"udevadm settle --timeout={SETTLE_LIMIT}", limit=SETTLE_LIMIT + 30)
        guest.output(f"dd if={disk_named(guest, disk.serial)} of=/dev/null bs=1M iflag=direct 2>&1")


def network_driver_comes_and_goes(doppel):
    """virtio_net, unbound and bound again; afterwards the network configures itself and carries ssh."""
    guest = full_guest(doppel)
    guest.script("rebind-other", REBIND_OTHER)
    for device in virtio_devices(guest, "virtio_net"):
        status, text = guest.run(f"sh /tmp/rebind-other virtio_net {device} {REBINDS} 2>&1", limit=REBIND_LIMIT)
        expect(status == 0, f"{device}: status {status}: {tail(text)}")
    guest.output(f"udevadm settle --timeout={SETTLE_LIMIT}", limit=SETTLE_LIMIT + 30)
    guest.output(HAS_ADDRESS, limit=SETTLE_LIMIT)
    status, text = guest.ssh("echo back")
    expect((status, text) == (0, "back"), f"status {status}: {text}")


def other_drivers_come_and_go(doppel):
    """Every other virtio driver that has a device, unbound and bound again."""
    guest = full_guest(doppel)
    guest.script("rebind-other", REBIND_OTHER)
    drivers = [name for name in guest.output("ls /sys/bus/virtio/drivers").split()
               if name not in ("virtio_blk", "virtio_net", "virtio_rproc_serial")]
    pairs = [(driver, device) for driver in drivers for device in virtio_devices(guest, driver)]
    if not pairs:
        raise Skip("this guest has no virtio devices but disks and network")
    for driver, device in pairs:
        status, text = guest.run(f"sh /tmp/rebind-other {driver} {device} {REBINDS} 2>&1", limit=REBIND_LIMIT)
        expect(status == 0, f"{driver} {device}: status {status}: {tail(text)}")


FIO_TESTS = tuple(fio_verifies(serial, transport, ring) for serial, transport, ring, _ in DATA_DISKS)
NET_TESTS = (iperf_through_user_network, iperf_through_tap)
REBIND_TESTS = (block_driver_comes_and_goes, network_driver_comes_and_goes, other_drivers_come_and_go)
