"""Linux's own drivers on the virtio devices, behind both transports and with both kinds of rings."""

import fcntl
import hashlib
import re
import signal
import socket
import struct
import tempfile
import termios
from pathlib import Path

import overlay
from doppel import CMDLINE, GUEST, Conversation, Failure, expect, expect_output, tail
from terminal import Session

MODULES = ("virtio_pci", "virtio_mmio", "virtio_rng", "virtio_console")
COMPLAINTS = "'virtio.*(fail|error|invalid|broken|unexpected|not )|nobody cared|Call Trace|BUG:|WARNING:'"
WALK = f"""
fail() {{ echo "doppel-virtio: FAIL $*"; exit 1; }}
case "$(cat /sys/class/misc/hw_random/rng_current)" in virtio_rng.*) ;; *) fail no hwrng ;; esac
dd if=/dev/hwrng of=/tmp/first bs=1024 count=4 iflag=fullblock 2>/dev/null
dd if=/dev/hwrng of=/tmp/second bs=1024 count=4 iflag=fullblock 2>/dev/null
[ "$(wc -c </tmp/first)" = 4096 ] || fail hwrng is short
cmp -s /tmp/first /tmp/second && fail hwrng repeats itself
stty -F /dev/hvc0 raw -echo || fail no hvc0
exec 3<>/dev/hvc0
echo console-asks >&3
read line <&3
echo "console-heard $line" >&3
seq 1 20000 >&3
dmesg | grep -E {COMPLAINTS} && fail complaints in dmesg
echo "doppel-virtio: PASS"
"""
# Fills and frees 200 MiB, so that the host holds them although the guest needs them no more.
DIRTY = """
mark() { echo "mark-$1"; read answer; }
mark booted
mount -o remount,size=400M /tmp
dd if=/dev/zero of=/tmp/fill bs=1M count=200 2>/dev/null
rm /tmp/fill
mark dirty
insmod /modules/virtio_balloon.ko
sleep 6
mark end
"""
# Two clients in turn on one port, each until it leaves; then more than anybody holds, with a client that reads late.
PORTS = """
port() {
  for name in /sys/class/virtio-ports/*/name; do
    if [ "$(cat $name)" = "$1" ]; then echo /dev/$(basename $(dirname $name)); fi
  done
}
until [ "$(cat /sys/class/virtio-ports/*/name 2>/dev/null | wc -l)" = 3 ]; do sleep 1; done
agent=$(port org.test.agent)
bulk=$(port bulk)
echo "ports $(cat /sys/class/virtio-ports/*/name | sort | tr '\\n' ' ')"
for turn in first second; do
  echo "turn-$turn-begins"
  exec 4<>$agent
  until read line <&4; do sleep 1; done  # Linux reports the end while nobody is connected
  echo "answer to $line" >&4
  echo "rest $(cat <&4)"
  exec 4>&-
done
echo "bulk-begins"
exec 5<>$bulk
seq 1 300000 >&5
echo "bulk-written"
md5sum <&5
echo "doppel-virtio: PASS"
"""
SIZES = """
while [ ! -c /dev/hvc0 ]; do sleep 0.1; done
exec 4<>/dev/hvc0
while :; do
  echo "size $(stty -F /dev/hvc0 size)"
  sleep 1
done
"""


def boot(folder, modules, script, *options, unloaded=()):
    """The arguments that boot with these modules loaded and run the script."""
    image = overlay.initrd(folder, modules, script, unloaded)
    return ("run", "--kernel", GUEST / "vmlinuz", "--initrd", image, "--cmdline", f"{CMDLINE} doppel.exec=test",
            "--memory", "512M", *options)


def walk(placement):
    """A test of entropy and console with this placement."""
    def test(doppel):
        with tempfile.TemporaryDirectory() as folder:
            command = boot(folder, MODULES, WALK, "--rng", f"on,{placement}", "--console", f"terminal,{placement}")
            outcome = doppel.run(*command, replies=(("console-asks", "typed words\n"),))
        expect_output(outcome, "console-heard typed words")
        expect("\n".join(map(str, range(1, 20001))) in outcome.out.replace("\r", ""), "lines of hvc0 are missing")
        expect_output(outcome, "doppel-virtio: PASS")
        expect(outcome.status == 0, f"status {outcome.status} instead of 0")
    test.__name__ = "rng_and_console_" + placement.replace("transport=", "").replace(",ring=", "_")
    return test


def resident(process):
    """MiB of guest RAM that the host holds for a process."""
    for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssShmem:"):
            return int(line.split()[1]) // 1024
    raise Failure("no RssShmem in the process's status")


def measured(doppel, *options):
    """MiB that the host holds when the guest is booted, has freed its memory, and at the end."""
    with tempfile.TemporaryDirectory() as folder:
        command = boot(folder, ("virtio_pci",), DIRTY, *options, unloaded=("virtio_balloon",))
        conversation = Conversation([str(doppel.binary), *map(str, command)], (("never", ""),))
        sizes = []
        try:
            for mark in ("mark-booted", "mark-dirty", "mark-end"):
                while mark not in conversation.out():
                    expect(conversation.step() and conversation.seconds() < 180,
                           f"no {mark}; last output: {tail(conversation.out())}")
                sizes.append(resident(conversation.process))
                conversation.process.stdin.write(b"\n")
                conversation.process.stdin.flush()
        finally:
            conversation.end()
    return sizes


def balloon_returns_memory(doppel):
    """Inflating gives what the guest does not need back to the host."""
    booted, dirty, end = measured(doppel, "--balloon", "256M,reporting=off")
    expect(dirty >= booted + 150, f"{booted} MiB, then {dirty} MiB: the guest did not touch its memory")
    expect(end <= dirty - 100, f"{dirty} MiB before the balloon, {end} MiB with it")


def reporting_returns_memory(doppel):
    """Pages that the guest reports as free go back to the host without a balloon."""
    booted, dirty, end = measured(doppel, "--balloon", "0")
    expect(dirty >= booted + 150, f"{booted} MiB, then {dirty} MiB: the guest did not touch its memory")
    expect(end <= dirty - 100, f"{dirty} MiB before reporting, {end} MiB after it")


def talk(conversation, path, mark, text):
    """Once the guest has printed the mark: sends a line to a port, and returns the answer's line."""
    wait_for(conversation, mark)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(text.encode())
        answer = b""
        while not answer.endswith(b"\n"):
            more = client.recv(4096)
            expect(more, f"the port closed the connection after {answer!r}: {conversation.out()[-300:]}")
            answer += more
        client.sendall(b"farewell\n")
    return answer.decode()


def wait_for(conversation, pattern):
    """Until the guest has printed this; the match."""
    while not (match := re.search(pattern, conversation.out())):
        expect(conversation.step() and conversation.seconds() < 120,
               f"no {pattern}: {tail(conversation.out())} {tail(conversation.err())}")
    return match


def console_ports_reach_sockets(doppel):
    """Ports by name, clients that come and go, and flow control in both directions."""
    with tempfile.TemporaryDirectory() as folder:
        agent, bulk = Path(folder) / "agent", Path(folder) / "bulk"
        command = boot(folder, ("virtio_pci", "virtio_console"), PORTS, "--console", "terminal", "--console",
                       f"socket={agent},name=org.test.agent", "--console", f"socket={bulk},name=bulk")
        conversation = Conversation([str(doppel.binary), *map(str, command)], ())
        try:
            expect(talk(conversation, agent, "turn-first-begins", "one\n") == "answer to one\n", "first client")
            wait_for(conversation, "rest farewell")
            expect(talk(conversation, agent, "turn-second-begins", "two\n") == "answer to two\n", "second client")
            wait_for(conversation, "bulk-begins")
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(60)
                client.connect(str(bulk))
                for _ in range(10):
                    conversation.step()
                expect("bulk-written" not in conversation.out(), "the guest wrote what nobody reads")
                numbers = "".join(f"{number}\n" for number in range(1, 300001)).encode()
                data = b""
                while len(data) < len(numbers):
                    data += client.recv(65536)
                expect(data == numbers, "the guest's lines are damaged")
                client.sendall(numbers)
            wait_for(conversation, hashlib.md5(numbers).hexdigest())
            wait_for(conversation, "doppel-virtio: PASS")
            expect("ports bulk console org.test.agent" in conversation.out(), tail(conversation.out()))
            while conversation.step():
                expect(conversation.seconds() < 180, "no end")
        finally:
            conversation.end()
        expect(conversation.process.returncode == 0, f"status {conversation.process.returncode}")
        expect(not agent.exists() and not bulk.exists(), "a socket is left")


def console_follows_the_terminals_size(doppel):
    """The size of the terminal at the start and later ones reach the guest's hvc0."""
    with tempfile.TemporaryDirectory() as folder:
        command = boot(folder, ("virtio_pci", "virtio_console"), SIZES, "--console", "terminal")
        with Session(doppel, command=command, size=(41, 97)) as session:
            session.wait_for("size 41 97")
            fcntl.ioctl(session.slave, termios.TIOCSWINSZ, struct.pack("4H", 23, 111, 0, 0))
            session.process.send_signal(signal.SIGWINCH)
            session.wait_for("size 23 111")
            session.type(b"\x01x")
            session.expect_left(0)


TESTS = (*(walk(f"transport={transport},ring={ring}") for transport in ("pci", "mmio") for ring in ("split", "packed")),
         balloon_returns_memory, reporting_returns_memory, console_ports_reach_sockets,
         console_follows_the_terminals_size)
