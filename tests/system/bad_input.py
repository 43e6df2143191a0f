"""What a person gets wrong: one clear line on standard error, status 1 or 2, never a crash."""

import os
import random
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

import overlay
from doppel import CMDLINE, GUEST, Conversation, Outcome, Skip, expect, tail

RANDOM_SEED = 20240229
ELF_HEADER_BYTES = 64
MACHINE_AARCH64 = 183
MACHINE_X86_64 = 62
NOBODY = 65534
# Reads past the page cache, before and after the host has cut the disk in half.
TRUNCATED = """
look() { dd if=/dev/vda of=/dev/null bs=64k skip=$1 count=4 iflag=direct 2>&1 | grep -q 'Input/output error'; echo $((1 - $?)); }
echo "disk-before: $(look 100)"
read answer
echo "disk-behind: $(look 100)"
echo "disk-first: $(look 0)"
dd if=/dev/vda of=/dev/null bs=64k skip=100 count=1 iflag=direct
echo "disk-alive"
"""


def random_bytes(count):
    """The same bytes in every run."""
    return random.Random(RANDOM_SEED).randbytes(count)


def arm_elf():
    """An ELF executable for another architecture: header only, one empty load segment."""
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, MACHINE_AARCH64, 1, 0x400000, ELF_HEADER_BYTES, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 120, 120, 4096)
    return ident + header + segment


def kernel_bytes():
    """The real kernel."""
    return (GUEST / "vmlinuz").read_bytes()


def arm_image():
    """The head of an arm64 kernel Image."""
    return bytes(56) + b"ARMd" + bytes(4096)


def pvh_elf(size):
    """An ELF kernel for this machine with one segment of `size` bytes of memory and a PVH entry."""
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    start, note_at = 0x100000, 176
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", start)
    header = struct.pack("<HHIQQQIHHHHHH", 2, MACHINE_X86_64, 1, start, ELF_HEADER_BYTES, 0, 0, 64, 56, 2, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, note_at, start, start, len(note), size, 4096)
    notes = struct.pack("<IIQQQQQQ", 4, 4, note_at, start, start, len(note), len(note), 4)
    return ident + header + load + notes + note


# name -> content of the kernel file
KERNELS = {
    "empty_kernel": lambda: b"",
    "one_byte_kernel": lambda: b"M",
    "random_kernel": lambda: random_bytes(1 << 20),
    "kernel_cut_in_header": lambda: kernel_bytes()[:600],
    "kernel_cut_in_setup": lambda: kernel_bytes()[:4096],
    "kernel_cut_in_payload": lambda: kernel_bytes()[: 5 << 20],
    "kernel_with_damaged_payload": lambda: kernel_bytes()[:1 << 20] + random_bytes(1 << 20) + kernel_bytes()[2 << 20:],
    "kernel_for_arm": arm_elf,
    "kernel_image_for_arm": arm_image,
    "kernel_larger_than_memory": lambda: pvh_elf(1 << 30),
    "kernel_larger_than_any_memory": lambda: pvh_elf((1 << 64) - 0x1000),
    "text_as_kernel": lambda: b"#!/bin/sh\necho not a kernel\n" * 100,
}

# name -> arguments after `run` with a good kernel and initramfs
ARGUMENTS = {
    "memory_zero": ("--memory", "0"),
    "memory_one_byte": ("--memory", "1"),
    "memory_one_mebibyte": ("--memory", "1M"),
    "memory_more_than_host": ("--memory", "1000000G"),
    "memory_overflows": ("--memory", "99999999999999999999999G"),
    "memory_is_negative": ("--memory", "-512M"),
    "memory_is_a_word": ("--memory", "lots"),
    "memory_is_no_multiple_of_a_page": ("--memory", "67108865"),
    "memory_too_small_for_the_kernel": ("--memory", "16M"),
    "cpus_zero": ("--cpus", "0"),
    "cpus_more_than_64": ("--cpus", "65"),
    "cpus_too_many": ("--cpus", "1000000"),
    "cpus_negative": ("--cpus", "-1"),
    "unknown_engine": ("--engine", "steam"),
    "kvm_that_counts": ("--engine", "kvm", "--max-instructions", "100"),
    "switches_every_nothing": ("--switch-every", "0"),
    "dump_in_no_folder": ("--jit-dump", "/nonexistent/dump"),
    "dump_with_bad_address": ("--jit-dump", "/tmp/doppel-bad-dump,rip=here"),
    "dump_with_unknown_key": ("--jit-dump", "/tmp/doppel-bad-dump,colour=red"),
    "translation_cache_in_no_folder": ("--engine", "jit", "--jit-cache", "/nonexistent/cache"),
    "translation_cache_is_a_folder": ("--engine", "jit", "--jit-cache", "/"),
    "profile_in_no_folder": ("--profile", "/nonexistent/profile"),
    "symbols_are_missing": ("--profile-symbols", "/nonexistent/System.map"),
    "symbols_are_a_kernel": ("--profile-symbols", f"{GUEST}/vmlinuz"),
    "switches_of_a_word": ("--switch-every", "often"),
    "unknown_cpu_template": ("--cpu", "z80"),
    "empty_cpu_template": ("--cpu", ""),
    "unknown_clock": ("--clock", "sundial"),
    "direct_maybe": ("--direct", "maybe"),
    "check_of_an_unknown_engine": ("--check-engine", "kvm"),
    "check_with_the_hosts_clock": ("--check-engine", "interp", "--engine", "jit"),
    "check_of_the_interpreter": ("--check-engine", "interp", "--engine", "interp", "--clock", "instructions"),
    "check_of_too_many_cpus": ("--check-engine", "interp", "--engine", "jit", "--clock", "instructions", "--cpus", "17"),
    "check_with_a_share": ("--check-engine", "interp", "--engine", "jit", "--clock", "instructions", "--share",
                           "data,socket=/tmp/doppel-bad-a"),
    "unknown_protocol": ("--protocol", "tftp"),
    "protocol_of_another_format": ("--protocol", "multiboot"),
    "instructions_are_a_word": ("--max-instructions", "many"),
    "instructions_are_negative": ("--max-instructions", "-1"),
    "instructions_overflow": ("--max-instructions", "99999999999999999999999"),
    "instructions_with_rest": ("--max-instructions", "12monkeys"),
    "option_given_twice": ("--memory", "64M", "--memory", "128M"),
    "stray_argument": ("vmlinuz",),
    "command_line_too_long": ("--cmdline", "x" * 10000),
    "unknown_option": ("--no-such-option",),
    "option_without_value": ("--memory",),
    "disk_is_missing": ("--disk", "/nonexistent/disk"),
    "disk_is_a_directory": ("--disk", "/"),
    "disk_is_no_multiple_of_a_sector": ("--disk", f"{GUEST}/stamp"),
    "disk_is_a_character_device": ("--disk", "/dev/zero"),
    "disk_is_empty": ("--disk", "/dev/null"),
    "disk_without_name": ("--disk", ",readonly=on"),
    "disk_with_unknown_key": ("--disk", f"{GUEST}/bench.img,colour=red"),
    "disk_with_key_twice": ("--disk", f"{GUEST}/bench.img,queues=1,queues=1"),
    "disk_with_bad_value": ("--disk", f"{GUEST}/bench.img,readonly=perhaps"),
    "disk_given_twice": ("--disk", f"{GUEST}/bench.img", "--disk", f"{GUEST}/bench.img"),
    "disk_ids_equal": ("--disk", f"{GUEST}/bench.img,readonly=on,id=a", "--disk", f"{GUEST}/bench.img,readonly=on,id=a"),
    "64_disks_and_one": sum((("--disk", f"{GUEST}/bench.img,readonly=on") for _ in range(65)), ()),
    "65_devices_behind_mmio": ("--rng", "on,transport=mmio") * 65,
    "ids_of_different_kinds_equal": ("--disk", f"{GUEST}/bench.img,readonly=on,id=a", "--vsock",
                                     "/tmp/doppel-bad-input,cid=3,id=a"),
    "32_consoles": sum((("--console", f"none,name=port{number}") for number in range(32)), ()),
    "consoles_with_one_name": ("--console", "none,name=port", "--console", "none,name=port"),
    "console_sockets_with_one_name": ("--console", "socket=/tmp/doppel-bad-a,name=port", "--console",
                                      "socket=/tmp/doppel-bad-b,name=port"),
    "console_sockets_at_one_path": ("--console", "socket=/tmp/doppel-bad-a,name=a", "--console",
                                    "socket=/tmp/doppel-bad-a,name=b"),
    "console_socket_without_name": ("--console", "socket=/tmp/doppel-bad-a"),
    "console_socket_with_a_path_as_name": ("--console", "socket=/tmp/doppel-bad-a,name=../../etc/passwd"),
    "console_socket_in_no_folder": ("--console", "socket=/nonexistent/socket,name=a"),
    "console_socket_with_a_clock_of_instructions": ("--console", "socket=/tmp/doppel-bad-a,name=a", "--clock",
                                                    "instructions"),
    "console_path_too_long": ("--console", f"socket=/tmp/{'x' * 200},name=a"),
    "two_terminals": ("--console", "terminal", "--console", "terminal,name=other"),
    "balloon_of_nonsense": ("--balloon", "lots"),
    "tap_that_cannot_be_made": ("--net", "tap,ifname=a/b"),
    "control_at_tcp": ("--control", "tcp:127.0.0.1:1"),
    "control_in_no_folder": ("--control", "unix:/nonexistent/socket"),
    "control_at_a_file": ("--control", f"unix:{GUEST}/stamp"),
    "control_with_a_clock_of_instructions": ("--control", "unix:/tmp/doppel-bad-a", "--clock", "instructions"),
    "gdb_at_a_file": ("--gdb", f"unix:{GUEST}/stamp"),
    "gdb_at_a_port_that_is_none": ("--gdb", "tcp:127.0.0.1:70000"),
    "disk_server_is_missing": ("--disk", "nbd+unix:///?socket=/nonexistent/socket"),
}

WHOLE_COMMANDS = {
    "no_kernel": ("run",),
    "unknown_command": ("fly",),
    "missing_kernel": ("run", "--kernel", "/nonexistent/vmlinuz"),
    "kernel_is_a_directory": ("run", "--kernel", "/"),
    "kernel_is_a_device": ("run", "--kernel", "/dev/zero"),
    "kernel_is_the_null_device": ("run", "--kernel", "/dev/null"),
    "initrd_is_a_directory": ("run", "--kernel", str(GUEST / "vmlinuz"), "--initrd", "/"),
    "missing_module": ("run", "--kernel", str(GUEST / "vmlinuz"), "--module", "/nonexistent/module"),
    "nothing_at_all": (),
    "missing_initrd": ("run", "--kernel", str(GUEST / "vmlinuz"), "--initrd", "/nonexistent/initrd.img"),
}


def expect_refusal(outcome):
    """One line on standard error, nothing else, status 1 or 2."""
    expect(not outcome.out, f"standard output: {outcome.out[:160]!r}")
    expect(outcome.status in (1, 2), f"status {outcome.status} instead of 1 or 2: {outcome.err[-160:]!r}")
    lines = outcome.err.splitlines()
    expect(len(lines) == 1 and lines[0].strip(), f"{len(lines)} lines on standard error: {outcome.err[-300:]!r}")


def with_kernel(make):
    """A test that gives a made-up kernel file."""
    def test(doppel):
        with tempfile.NamedTemporaryFile(prefix="doppel-kernel-") as file:
            file.write(make())
            file.flush()
            expect_refusal(doppel.run("run", "--kernel", file.name, "--memory", "64M", "--cmdline", CMDLINE, limit=20))
    return test


def with_arguments(arguments):
    """A test that gives good files and a bad option."""
    def test(doppel):
        words = () if "--cmdline" in arguments else ("--cmdline", CMDLINE)
        expect_refusal(doppel.run("run", "--kernel", GUEST / "vmlinuz", "--initrd", GUEST / "initrd.img", *words,
                                  *arguments, limit=20))
    return test


def with_command(command):
    """A test of a whole command line."""
    return lambda doppel: expect_refusal(doppel.run(*command, limit=20))


def initrd_larger_than_memory(doppel):
    """An initramfs that cannot fit is refused before the guest starts."""
    with tempfile.NamedTemporaryFile(prefix="doppel-initrd-") as file:
        Path(file.name).write_bytes(bytes(80 << 20))
        expect_refusal(doppel.run("run", "--kernel", GUEST / "vmlinuz", "--initrd", file.name, "--memory", "64M",
                                  limit=20))


def unreadable_kernel(doppel):
    """A kernel without read permission."""
    if os.geteuid() == 0:
        raise Skip("root reads every file")
    with tempfile.NamedTemporaryFile(prefix="doppel-kernel-") as file:
        os.chmod(file.name, 0)
        expect_refusal(doppel.run("run", "--kernel", file.name, limit=20))


def with_taken_path(*words):
    """A test that gives an option with a socket's path, PATH, at which another program listens."""
    def test(doppel):
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as other:
            path = f"{folder}/socket"
            other.bind(path)
            other.listen()
            with_arguments([word.replace("PATH", path) for word in words])(doppel)
            expect(os.path.exists(path), "the other program's socket is gone")
    return test


def with_taken_port(*words):
    """A test that gives an option with a TCP port, PORT, at which another program listens."""
    def test(doppel):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            with_arguments([word.replace("PORT", str(other.getsockname()[1])) for word in words])(doppel)
    return test


def as_nobody(*words):
    """A test of an option as a user without rights; FILE is a file that the user may only read."""
    def test(doppel):
        with tempfile.NamedTemporaryFile(prefix="doppel-disk-") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.chmod(file.name, 0o444)
            arguments = [word.replace("FILE", file.name) for word in words]
            user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
            try:
                done = subprocess.run([doppel.binary, "run", "--kernel", GUEST / "vmlinuz", *arguments], timeout=20,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **user)
            except PermissionError as error:
                raise Skip(f"other users cannot run the binary where it is: {error}") from error
            expect_refusal(Outcome(done.returncode, done.stdout, done.stderr, 0))
            expect("ermission" in done.stderr, f"no reason: {done.stderr!r}")
    return test


def disk_truncated_under_a_guest(doppel):
    """The guest sees an I/O error where the file has ended, and everything before it; the machine goes on."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "disk"
        disk.write_bytes(random_bytes(8 << 20))
        image = overlay.initrd(folder, ("virtio_pci", "virtio_blk"), TRUNCATED)
        command = ("run", "--kernel", GUEST / "vmlinuz", "--initrd", image, "--cmdline",
                   f"{CMDLINE} doppel.exec=test", "--disk", f"{disk}")
        conversation = Conversation([str(doppel.binary), *map(str, command)], (("never", ""),))
        try:
            while conversation.step():
                expect(conversation.seconds() < 120, f"no end: {tail(conversation.out())}")
                if "disk-before: 0" in conversation.out() and disk.stat().st_size > 4 << 20:
                    os.truncate(disk, 4 << 20)
                    conversation.process.stdin.write(b"\n")
                    conversation.process.stdin.flush()
        finally:
            conversation.end()
        out = conversation.out()
        for line in ("disk-before: 0", "disk-behind: 1", "disk-first: 0", "I/O error", "disk-alive"):
            expect(line in out, f"no '{line}': {tail(out)}")
        expect(conversation.process.returncode == 0, f"status {conversation.process.returncode}")


def named(name, test):
    """Gives a generated test the name it is called by."""
    test.__name__ = name
    return test


TAKEN = {
    "gdb_path_in_use": with_taken_path("--gdb", "unix:PATH"),
    "gdb_port_in_use": with_taken_port("--gdb", "tcp:127.0.0.1:PORT"),
    "forwarded_port_in_use": with_taken_port("--net", "user,hostfwd=tcp:127.0.0.1:PORT-:22"),
    "control_path_in_use": with_taken_path("--control", "unix:PATH"),
    "console_path_in_use": with_taken_path("--console", "socket=PATH,name=a"),
    "vsock_path_in_use": with_taken_path("--vsock", "PATH,cid=3"),
    "network_path_in_use": with_taken_path("--net", "socket,listen=PATH"),
    "disk_that_may_only_be_read": as_nobody("--disk", "FILE"),
    "tap_without_privilege": as_nobody("--net", "tap,ifname=doppel-test"),
}

TESTS = (
    *(named(name, with_kernel(make)) for name, make in KERNELS.items()),
    *(named(name, with_arguments(arguments)) for name, arguments in ARGUMENTS.items()),
    *(named(name, with_command(command)) for name, command in WHOLE_COMMANDS.items()),
    *(named(name, test) for name, test in TAKEN.items()),
    initrd_larger_than_memory,
    unreadable_kernel,
    disk_truncated_under_a_guest,
)
