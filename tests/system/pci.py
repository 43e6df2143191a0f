"""What a guest sees of the PCI bus and of the platform around it, as its kernel describes it and as its shell reads it."""

import re

from doppel import expect, expect_output

LOUD = "loglevel=8 doppel.exec=none"
# The shell's answer to reading a configuration space is between these.
READ = "echo BEGIN; od -An -v -tx1 /sys/bus/pci/devices/0000:00:01.0/config; echo END; poweroff -f\n"


def kernel_finds_the_bus(doppel):
    """The host bridge comes from ACPI, its registers through memory, and a function has addresses and an interrupt."""
    outcome = doppel.boot("--rng", "on", words=LOUD)
    expect_output(outcome, "PCI: MMCONFIG for domain 0000 [bus 00-00] at [mem 0xe0000000-0xe00fffff]")
    expect_output(outcome, "PCI host bridge to bus 0000:00")
    expect_output(outcome, "root bus resource [mem 0xc0000000-0xdfffffff window]")
    expect_output(outcome, "pci 0000:00:00.0: [1b36:0008] type 00 class 0x060000")
    expect_output(outcome, "pci 0000:00:01.0: [1af4:1044]")
    expect(re.search(r"pci 0000:00:01\.0: BAR 0 \[mem 0xc0000000-", outcome.out), "no address for function 00:01.0")
    expect("can't claim" not in outcome.out, "the kernel does not accept an address")


def kernel_finds_the_timer(doppel):
    """The HPET comes from ACPI and counts."""
    outcome = doppel.boot(words=LOUD)
    expect_output(outcome, "clocksource: hpet:")
    expect_output(outcome, "hpet0: 3 comparators, 64-bit 100.000000 MHz counter")


def configuration_space(doppel, words):
    """The first 256 bytes of function 00:01.0 as a guest with these kernel words reads them."""
    outcome = doppel.boot("--rng", "on", words=words, replies=(("doppel:", READ),))
    found = re.search(r"\nBEGIN\s+(.*?)\s+END", outcome.out, re.DOTALL)
    expect(found, "the guest printed no configuration space")
    return found[1].split()


def both_ways_show_the_same_registers(doppel):
    """Ports and memory lead to the same configuration space, with a list of capabilities that ends."""
    through_memory = configuration_space(doppel, "")
    through_ports = configuration_space(doppel, "pci=conf1")
    expect(len(through_memory) >= 256, f"{len(through_memory)} bytes instead of 256")
    expect(through_memory[:256] == through_ports[:256], "ports and memory differ")
    seen = []
    at = int(through_memory[0x34], 16)
    while at != 0:
        expect(at not in seen and 0x40 <= at < 0x100, f"the list of capabilities goes from {seen} to {at:#x}")
        seen.append(at)
        at = int(through_memory[at + 1], 16)
    expect("11" in [through_memory[at] for at in seen], "no MSI-X capability")


TESTS = (kernel_finds_the_bus, kernel_finds_the_timer, both_ways_show_the_same_registers)
