"""Debian's gdb attached to a booting Debian kernel."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from doppel import GUEST, Conversation, Skip, expect, tail

WORDS = "console=ttyS0 quiet panic=-1 nokaslr"
# Functions and variables of the kernel, and variables that every CPU has its own of.
FUNCTIONS = ("start_kernel", "vfs_read", "ksys_read")
VARIABLES = ("jiffies", "linux_banner")
PER_CPU = ("this_cpu_off", "cpu_number")
TEXT_BASE = 0xffffffff81000000
TEXT_SIZE = 64 << 20
SECONDS = 240


def kernel_symbols(doppel):
    """Addresses by name, as the guest's own kernel tells them."""
    names = "|".join((*FUNCTIONS, *VARIABLES, *PER_CPU))
    command = f"grep -E ' ({names})$' /proc/kallsyms; echo symbols-$((40 + 2)); poweroff\n"
    outcome = doppel.run("run", "--kernel", GUEST / "vmlinuz", "--initrd", GUEST / "initrd.img", "--cmdline", WORDS,
                         replies=[("doppel:", command)], until="symbols-42")
    found = re.findall(r"^([0-9a-f]{16}) \w (\w+)\r?$", outcome.out, re.MULTILINE)
    symbols = {name: int(address, 16) for address, name in found}
    missing = set(names.split("|")) - set(symbols)
    expect(not missing, f"the guest's kernel does not name {sorted(missing)}; last: {tail(outcome.out)}")
    return symbols


def build_symbol_file(folder, symbols):
    """An ELF file with nothing but the symbols; functions lie in a section that only has a size."""
    lines = ['.section .kernel,"ax",@nobits', f"base: .skip {TEXT_SIZE}"]
    for name in FUNCTIONS:
        lines += [f".globl {name}", f".type {name},@function", f".set {name}, base + {symbols[name] - TEXT_BASE:#x}"]
    for name in VARIABLES:
        lines += [f".globl {name}", f".type {name},@object", f".set {name}, {symbols[name]:#x}"]
    source, linked, target = folder / "symbols.s", folder / "symbols.o", folder / "symbols.elf"
    source.write_text("\n".join(lines) + "\n", encoding="ascii")
    subprocess.run(["as", "-o", linked, source], check=True)
    subprocess.run(["ld", f"--section-start=.kernel={TEXT_BASE:#x}", "-e", "0", "-o", target, linked], check=True)
    return target


def run_gdb(doppel, folder, commands, *options, symbols=None):
    """What gdb printed for the commands, attached to a kernel that boots."""
    socket = folder / "gdb.socket"
    machine = Conversation([str(doppel.binary), "run", "--kernel", str(GUEST / "vmlinuz"), "--initrd",
                            str(GUEST / "initrd.img"), "--cmdline", f"{WORDS} doppel.exec=none", "--gdb",
                            f"unix:{socket}", "--gdb-wait", *options], ())
    try:
        while not socket.exists():
            expect(machine.step() and machine.seconds() < SECONDS, f"no socket: {machine.err()}")
        script = folder / "commands.gdb"
        script.write_text("\n".join(["set pagination off", "set confirm off", "set architecture i386:x86-64",
                                     *([f"file {symbols}"] if symbols else []), f"target remote {socket}",
                                     *commands]) + "\n", encoding="ascii")
        done = subprocess.run(["gdb", "-nx", "-batch", "-x", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=SECONDS, check=False)
        return done.stdout
    finally:
        machine.end()


def require_tools():
    """Skips where gdb or binutils are not installed."""
    missing = [tool for tool in ("gdb", "as", "ld") if shutil.which(tool) is None]
    if missing:
        raise Skip(f"not installed: {', '.join(missing)}; run tools/install-deps test")


def expect_all(text, patterns):
    """Every pattern occurs, in this order."""
    at = 0
    for pattern in patterns:
        found = re.compile(pattern, re.MULTILINE).search(text, at)
        expect(found is not None, f"gdb did not print '{pattern}' where expected; it printed: {text[-1500:]}")
        at = found.end()


def kernel_commands(symbols):
    """For gdb: a breakpoint, backtrace, finish, step, per-CPU data and a watchpoint in the kernel, by symbols."""
    return [
        "break vfs_read", "continue", "backtrace 2", f"printf \"bytes %d\\n\", *(unsigned char*){symbols['linux_banner']:#x}",
        f"printf \"offset %d\\n\", *(long*)($gs_base + {symbols['this_cpu_off']:#x}) == $gs_base",
        f"printf \"cpu %d\\n\", *(int*)($gs_base + {symbols['cpu_number']:#x})",
        "info threads", "finish", "stepi", "stepi", "info breakpoints",
        "delete", f"watch *(unsigned long*){symbols['jiffies']:#x}", "continue", "continue",
        "monitor info lapic", "monitor info exits", "monitor help", "kill"]


# What gdb prints for them, in this order.
KERNEL_ANSWERS = (
    r"Breakpoint 1, 0x[0-9a-f]+ in vfs_read", r"^#0 .* vfs_read", r"^#1 .* ksys_read", r"^bytes 76$", r"^offset 1$",
    r"^cpu 0$", r"Thread 1.*CPU 0 \[running\]", r"in ksys_read", r"in ksys_read", r"already hit 1 time",
    r"[Ww]atchpoint 2", r"Old value = ", r"New value = ", r"Old value = ", r"New value = ", "info tlb")


def breaks_in_the_kernel(doppel):
    """What debuggers do all day, in a kernel that boots."""
    require_tools()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        symbols = kernel_symbols(doppel)
        output = run_gdb(doppel, folder, kernel_commands(symbols), symbols=build_symbol_file(folder, symbols))
    expect_all(output, KERNEL_ANSWERS)


def registers_of_a_running_kernel(doppel):
    """Every register has a value, long mode shows in EFER, and the machine goes on after gdb detaches."""
    require_tools()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        symbols = build_symbol_file(folder, kernel_symbols(doppel))
        output = run_gdb(doppel, folder, [
            "info registers rip", "hbreak start_kernel", "continue", "info registers", "print $xmm0", "print $ymm0",
            "x/2i $rip", "print $cr3 != 0", "print $efer & 0x400", "monitor info tlb", "monitor info registers", "detach"],
                         symbols=symbols)
    expect_all(output, [r"^rip ", r"Breakpoint 1, 0x[0-9a-f]+ in start_kernel", r"^rax ", r"^k_gs_base ", r"^cr4 ", r"v4_float",
                        r"v8_float", r"^=> 0x[0-9a-f]+ <start_kernel", r"= 1$", r"= 1024$", r"->", r"cr3", r"[Dd]etached"])


TESTS = (breaks_in_the_kernel, registers_of_a_running_kernel)
