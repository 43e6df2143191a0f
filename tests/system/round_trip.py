"""A machine's whole state with every device in use, saved and loaded into another machine."""

import re
import subprocess
import tempfile
from pathlib import Path

import overlay
from doppel import CMDLINE, GUEST, Skip, expect
from network import DHCP
from share import Share

MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "virtio_balloon", "virtio_console")
MORE = 20_000_000  # instructions
# Uses everything, and keeps more requests for the disk than its limit lets through.
USE = """
echo $(($(cat /sys/class/rtc/rtc0/since_epoch) + 36000)) >/sys/class/rtc/rtc0/wakealarm && echo alarm-is-set
dd if=/dev/hwrng of=/dev/null bs=16 count=4 2>/dev/null && echo rng-works
echo hello >/dev/hvc0 && echo console-works
"""
WRITE = """
for i in 0 1 2 3 4 5; do
  while :; do dd if=/dev/zero of=/dev/vda bs=4096 count=1 seek=$((i * 100)) oflag=direct 2>/dev/null; done &
done
while set -- $(cat /sys/block/vda/inflight) && [ $(($1 + $2)) -lt 3 ]; do :; done
echo "state-now in-flight=$2"
"""
GO_ON = "for i in $(seq 100); do ping -c 1 10.0.2.2 >/dev/null; echo gone-on $i; done\n"


def program(doppel):
    """The program beside the binary under test."""
    found = Path(doppel.binary).parent / "bin" / "state_round_trip"
    if not found.exists():
        raise Skip(f"no {found}; build it")
    return found


def round_trip(doppel, clock, image, devices, words="", engines=("interp", "interp"), copies=()):
    """Runs the program with two machines on these engines; its output."""
    command = [program(doppel), "kernel", GUEST / "vmlinuz", "initrd", image, "cmdline",
               f"{CMDLINE} doppel.exec=test {words}".strip(), "cpus", 4, "clock", clock, "until", "state-now", "more", MORE,
               "engine", engines[0], "copy-engine", engines[1]]
    for path in copies:
        command += ["copy", path]
    for option, value in devices:
        command += [option, value]
    result = subprocess.run([str(word) for word in command], capture_output=True, timeout=300, check=False)
    out = result.stdout.decode("utf-8", "replace")
    expect(result.returncode == 0, f"{result.stderr.decode()[-400:]}; last output: {out[-200:]!r}")
    return out


def all_devices(folder, net):
    """Every device that may be part of a machine on the instruction clock, behind PCI and MMIO, in the order in
    which the command line plugs them in."""
    disk = Path(folder) / "disk"
    with disk.open("wb") as file:
        file.truncate(16 << 20)
    return disk, (("--disk", f"{disk}@,iops=40,ring=packed"), ("--net", net), ("--rng", "on,transport=mmio"),
                  ("--balloon", "16M,transport=mmio,ring=packed"), ("--console", "none"))


def expect_used(out):
    """The guest got through its script, and requests were in flight."""
    for text in ("alarm-is-set", "rng-works", "console-works"):
        expect(text in out, f"no '{text}'")
    in_flight = re.findall(r"state-now in-flight=(\d+)", out)
    expect(in_flight and int(in_flight[0]) >= 3, f"requests in flight: {in_flight}")


def instruction_clock(doppel, recorder, engines, words):
    """The network is a recording of the same guest: live ones, vsock and shares are refused with this clock. It was
    made on the engine `recorder`, and the two machines run on others.
    """
    with tempfile.TemporaryDirectory() as folder:
        image = overlay.initrd(folder, MODULES, DHCP + USE + WRITE + GO_ON)
        recording = Path(folder) / "recording"
        mac = "mac=52:54:00:12:34:56,transport=mmio"
        _, devices = all_devices(folder, f"user,record={recording},{mac}")
        plain = [word.replace("@", "") for pair in devices for word in pair]
        doppel.boot("--engine", recorder, "--clock", "instructions", *plain, "--exit-on", "gone-on 60", image=image,
                    words=f"doppel.exec=test {words}".strip(), cpus=4, limit=200)
        disk, devices = all_devices(folder, f"replay,file={recording},{mac}")  # the disk anew
        out = round_trip(doppel, "instructions", image, devices, words, engines, copies=(disk,))
    expect_used(out)
    expect("hashes after running on" in out, "the machines did not run on")
    return out


def every_device_round_trips(doppel):
    """With the local APICs' timers. What the translator recorded and the interpreter replays goes on in the translator."""
    instruction_clock(doppel, "jit", ("interp", "jit"), "")


def armed_hpet_round_trips(doppel):
    """With the HPET as the source of ticks, and the RTC's alarm set. The engines the other way round."""
    instruction_clock(doppel, "interp", ("jit", "interp"), "nolapic_timer clocksource=hpet")


def armed_pit_round_trips(doppel):
    """With the PIT as the source of ticks."""
    instruction_clock(doppel, "jit", ("interp", "interp"), "nolapic_timer hpet=disable clocksource=acpi_pm")


def host_clock_round_trips(doppel):
    """With vsock and a share, which the instruction clock refuses: saved and loaded, though not compared further."""
    with tempfile.TemporaryDirectory() as folder, Share() as one, Share() as other:
        Path(f"{one.socket}.copy").symlink_to(other.socket)
        disk, devices = all_devices(folder, "user,mac=52:54:00:12:34:56,transport=mmio")
        devices = (*devices, ("--vsock", f"{folder}/v@,cid=7"), ("--share", f"docs,socket={one.socket}@,ring=packed"))
        use = USE + "mkdir /mnt\nmount -t virtiofs docs /mnt && md5sum /mnt/big >/dev/null && echo share-works\n"
        image = overlay.initrd(folder, (*MODULES, "virtiofs", "vmw_vsock_virtio_transport"), DHCP + use + WRITE)
        out = round_trip(doppel, "host", image, devices, copies=(disk,))
    expect_used(out)
    expect("share-works" in out, "the share was not used")


TESTS = (host_clock_round_trips, every_device_round_trips, armed_hpet_round_trips, armed_pit_round_trips)
