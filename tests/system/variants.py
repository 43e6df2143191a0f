"""The same kernel with other words on its command line, other CPU templates and boot protocols reaches init.

A share of the table runs by default, another one each day; all of it with DOPPEL_ALL_VARIANTS=1 in the environment.
"""

import os
import time

from doppel import Skip, expect, expect_output

SHARE = 4
SECONDS_PER_DAY = 86400
LAST_LINE = "doppel-exec: none ended with status 0"

CANNOT_POWER_OFF = ("no_acpi",)

# name -> (kernel words, options of doppel, memory if not 512M)
VARIANTS = {
    "nokaslr": ("nokaslr", ()),
    "nosmap": ("nosmap", ()),
    "nopcid": ("nopcid", ()),
    "all_mitigations": ("mitigations=auto", ()),
    "no_mitigations": ("mitigations=off", ()),
    "page_table_isolation": ("pti=on", ()),
    "xapic": ("nox2apic", ()),
    "pic_only": ("noapic", ()),
    "no_local_apic_timer": ("nolapic_timer", ()),
    # Linux uses the 8254 for its ticks only without an HPET, and if it believes that there is no TSC-deadline timer.
    "tick_of_the_8254": ("nolapic_timer lapic=notscdeadline hpet=disable", ()),
    "hpet_clock": ("clocksource=hpet no-kvmclock tsc=unstable", ()),
    "hpet_tick_and_clock": ("nolapic_timer clocksource=hpet no-kvmclock hpet=force", ()),
    "no_hpet": ("hpet=disable", ()),
    "no_pci": ("pci=off", ()),
    "pci_through_ports": ("pci=conf1", ()),
    "pci_without_acpi": ("pci=noacpi", ("--rng", "on")),
    "pci_without_messages": ("pci=nomsi", ("--rng", "on")),
    "no_local_apic": ("nolapic", ()),
    "pm_timer_clock": ("clocksource=acpi_pm no-kvmclock", ()),
    "no_tsc": ("notsc no-kvmclock", ()),
    "no_kvm_clock": ("no-kvmclock", ()),
    "no_paravirtualization": ("nopv no-kvmclock", ()),
    "local_apic_timer_counts": ("lapic=notscdeadline", ()),
    "no_acpi": ("acpi=off", ()),
    "no_xsave": ("noxsave", ()),
    "no_idle": ("idle=poll", ()),
    "periodic_tick": ("nohz=off highres=off", ()),
    "cpu_v2": ("", ("--cpu", "x86-64-v2")),
    "cpu_v3": ("", ("--cpu", "x86-64-v3")),
    "cpu_host": ("", ("--cpu", "host")),
    "protocol_pvh": ("", ("--protocol", "pvh")),
    "protocol_linux64": ("", ("--protocol", "linux64")),
    "protocol_linux32": ("", ("--protocol", "linux32")),
    "little_memory": ("", (), "128M"),
    "memory_above_the_hole": ("", (), "4G"),
    "counted_instructions": ("", ("--clock", "instructions")),
}


def is_of_the_day(name):
    """Whether this variant is in today's share."""
    position = list(VARIANTS).index(name)
    shares = -(-len(VARIANTS) // SHARE)
    return position % shares == int(time.time() // SECONDS_PER_DAY) % shares


def named_test(name):
    """The test of one variant."""
    words, options, memory = (*VARIANTS[name], "512M")[:3]

    def test(doppel):
        if not os.environ.get("DOPPEL_ALL_VARIANTS") and not is_of_the_day(name):
            raise Skip("not in today's share; set DOPPEL_ALL_VARIANTS=1")
        until = LAST_LINE if name in CANNOT_POWER_OFF else None
        outcome = doppel.boot(*options, words=f"doppel.exec=none {words}", memory=memory, limit=60,
                              until=until)
        expect_output(outcome, "doppel-init: reached")
        expect_output(outcome, LAST_LINE)
        expect(until is not None or outcome.status == 0, f"status {outcome.status} instead of 0")
    test.__name__ = name
    return test


TESTS = tuple(named_test(name) for name in VARIANTS)
