"""Runs in a Debian guest: makes the kernel change its own code in every way it knows, while another CPU runs that code.

Each part prints `PART: rounds ok`; the first wrong answer ends it with status 1.
"""

import ctypes
import hashlib
import operator
import os
import random
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

TRACING = Path("/sys/kernel/tracing")
MODULES = ("dummy", "veth", "ifb")
PROBED = "__x64_sys_getppid"
ANY_NAME = "*_sys_getppid"  # the symbol has several
CALLS = 40
WORK = bytes(range(256)) * 64
SO_ATTACH_FILTER = 26
PACKET = 200
# Of BPF's accumulator and a constant: opcode, meaning.
OPERATIONS = {"+": (0x04, operator.add), "-": (0x14, operator.sub), "*": (0x24, operator.mul), "|": (0x44, operator.or_),
              "&": (0x54, operator.and_), "^": (0xa4, operator.xor), "<": (0x64, operator.lshift)}


def write(name, text, mode="w"):
    """Into a file of tracefs."""
    with (TRACING / name).open(mode) as file:
        file.write(text + "\n")


def check(condition, message):
    """Ends the program with the message unless the condition holds."""
    if not condition:
        sys.exit(f"wrong: {message}")


def compute(parent):
    """On the second CPU until told to stop: hashes, system calls, pipes. Exits with 1 at a wrong result."""
    os.sched_setaffinity(0, {1})
    right = hashlib.sha256(WORK).digest()
    reader, writer = os.pipe()
    rounds = 0
    while not Path("/tmp/stop").exists():
        for _ in range(20):
            os.write(writer, right)
            if hashlib.sha256(WORK).digest() != os.read(reader, 32) or os.getppid() != parent:
                os._exit(1)
            rounds += 1
    os._exit(0 if rounds > 20 else 2)


def traced_calls(pattern):
    """Calls getppid CALLS times with a clear trace buffer; how many lines of this process match."""
    write("trace", "")
    for _ in range(CALLS):
        os.getppid()
    lines = [line for line in (TRACING / "trace").read_text().splitlines() if f"-{os.getpid()} " in line]
    return sum(re.search(pattern, line) is not None for line in lines)


def modules(rounds):
    """Loads and unloads modules while the function tracer hooks every function of the kernel."""
    loaded = lambda name: Path(f"/sys/module/{name}").exists()
    for number in range(rounds):
        name = MODULES[number % len(MODULES)]
        write("current_tracer", "function" if number % 2 == 0 else "function_graph")
        subprocess.run(("modprobe", name), check=True)
        check(loaded(name), f"{name} is not there")
        write("current_tracer", "nop")
        subprocess.run(("modprobe", "-r", name), check=True)
        check(not loaded(name), f"{name} is still there")
    write("set_ftrace_filter", ANY_NAME)
    for _ in range(rounds):
        write("current_tracer", "function")
        found = traced_calls(r"_sys_getppid <-")
        check(found == CALLS, f"the function tracer saw {found} of {CALLS} calls")
        write("current_tracer", "nop")
    write("set_ftrace_filter", "")


def probes(rounds):
    """Kernel probes at a function's start, at its return, and within it."""
    parent = os.getppid()
    write("kprobe_events", f"p:start {PROBED}\nr:end {PROBED} value=$retval:u64\n")
    for _ in range(rounds):
        for name, pattern in (("start", r"start: \(\w+_sys_getppid"), ("end", rf"end: .*value={parent}$")):
            write(f"events/kprobes/{name}/enable", "1")
            found = traced_calls(pattern)
            write(f"events/kprobes/{name}/enable", "0")
            check(found == CALLS, f"probe {name} saw {found} of {CALLS} calls")
    write("kprobe_events", "")


def keys(rounds):
    """Static keys of tracepoints, one by one and a subsystem at a time."""
    for _ in range(rounds):
        write("events/syscalls/sys_enter_getppid/enable", "1")
        found = traced_calls(r"sys_getppid\(")
        write("events/syscalls/sys_enter_getppid/enable", "0")
        check(found == CALLS, f"the tracepoint saw {found} of {CALLS} calls")
        write("events/sched/enable", "1")
        write("events/sched/enable", "0")


def filter_of(steps, size):
    """A classic BPF program that computes with a packet's first byte and lets that many bytes pass."""
    program = [(0x30, 0)] + [(OPERATIONS[operation][0], value) for operation, value in steps]
    program += [(0x54, 127), (0x04, 1), (0x16, 0)]
    data = b"".join(struct.pack("<HBBI", code, 0, 0, value) for code, value in program)
    expected = []
    for byte in range(256):
        a = byte
        for operation, value in steps:
            a = OPERATIONS[operation][1](a, value) & 0xffffffff
        expected.append(min((a & 127) + 1, size))
    return data, len(program), expected


def filters(rounds):
    """Programs for sockets, which the kernel translates and drops again."""
    check(Path("/proc/sys/net/core/bpf_jit_enable").read_text().strip() in ("1", "2"), "BPF is not translated")
    numbers = random.Random(5)
    for _ in range(rounds):
        steps = []
        for _ in range(numbers.randrange(1, 40)):
            operation = numbers.choice(tuple(OPERATIONS))
            steps.append((operation, numbers.randrange(1, 31) if operation == "<" else numbers.getrandbits(32)))
        data, count, expected = filter_of(steps, PACKET)
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        buffer = ctypes.create_string_buffer(data)
        right.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxQ", count, ctypes.addressof(buffer)))
        for byte in range(0, 256, 5):
            left.send(bytes([byte]) * PACKET)
            found = len(right.recv(PACKET))
            check(found == expected[byte], f"{steps}: {found} instead of {expected[byte]} for {byte}")
        left.close()
        right.close()


def main():
    """All parts, with the other CPU at work."""
    rounds = int(sys.argv[1])
    subprocess.run(("mount", "-t", "tracefs", "tracefs", str(TRACING)), check=False, stderr=subprocess.DEVNULL)
    Path("/tmp/stop").unlink(missing_ok=True)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        compute(parent)
    os.sched_setaffinity(0, {0})
    for part in (modules, probes, keys, filters):
        part(rounds)
        print(f"{part.__name__}: {rounds} ok", flush=True)
    Path("/tmp/stop").touch()
    check(os.waitpid(child, 0)[1] == 0, "the other CPU computed wrongly")
    print("work: ok")


main()
