"""What transfers cost: accesses to a device's registers, its interrupts, and bytes that the monitor copies.

doppel counts all three. QEMU writes trace events to a file, which is why it is measured without them and counted in a
run of its own; there, its ioeventfd is off, since it traces no access that is served by one. It does not count copies.
"""

import re
import tempfile
from pathlib import Path

from peers import Guest, Missing, start_doppel, start_qemu
from table import print_rows

SAMPLE = re.compile(r"^doppel_(\w+)_total\{(.*)\} ([\d.]+)$", re.MULTILINE)
COPIED = re.compile(r"^virtio\S+_copied_bytes (\d+)$", re.MULTILINE)
# The PCI functions' memory; only virtio devices have some here. Or the registers of a device without PCI.
DOPPEL_REGISTERS = re.compile(r'bus="memory",device="(pci|virtio[^"]*)"')
# The same there: registers, and the table of MSI-X, which is a region with a name of its own.
QEMU_REGISTERS = re.compile(r"^memory_region_ops_(?:read|write) .* name '(?:virtio-|msix-)", re.MULTILINE)
QEMU_NOTIFICATIONS = re.compile(r"^memory_region_ops_write .* name 'virtio-pci-notify", re.MULTILINE)
QEMU_INTERRUPTS = re.compile(r"^virtio_notify ", re.MULTILINE)
QEMU_EVENTS = ("memory_region_ops_read", "memory_region_ops_write", "virtio_notify")
MIB = 1 << 20


def read_all(started):
    """Waits for a peer; what its console showed."""
    try:
        return started.console.read().decode("latin-1").replace("\r", "")
    finally:
        started.stop()


def finished(started, word):
    """The console's text; Missing without the word that the guest says at its end."""
    text = read_all(started)
    if word not in text:
        raise Missing(f"did not finish: {text[-200:]!r} {started.messages()[-200:]!r}")
    return text


def doppel_counts(metrics, messages):
    """From --stats-file and --stats."""
    counts = {"accesses to registers": 0, "notifications": 0, "interrupts": 0}
    for name, labels, value in SAMPLE.findall(metrics):
        if name == "bus_accesses" and DOPPEL_REGISTERS.search(labels):
            counts["accesses to registers"] += int(value)
        elif name == "virtio_queue_events" and 'event="notification"' in labels:
            counts["notifications"] += int(value)
        elif name == "virtio_queue_events" and 'event="interrupt"' in labels:
            counts["interrupts"] += int(value)
    counts["MiB copied"] = sum(map(int, COPIED.findall(messages))) / MIB
    return counts


def qemu_counts(trace):
    """From the trace's lines."""
    return {"accesses to registers": len(QEMU_REGISTERS.findall(trace)),
            "notifications": len(QEMU_NOTIFICATIONS.findall(trace)),
            "interrupts": len(QEMU_INTERRUPTS.findall(trace))}


def count(peer, image, device, word):
    """One counted run of a peer: totals by name. `device(peer, traced)` are the options for the device."""
    with tempfile.TemporaryDirectory(prefix="doppel-bench-") as folder:
        path = Path(folder) / "counts"
        guest = Guest(Path(folder), image, words="doppel.exec=test")
        if peer == "qemu-tcg":
            events = Path(folder) / "events"
            events.write_text("".join(f"{event}\n" for event in QEMU_EVENTS))
            finished(start_qemu(guest, (*device(peer, True), "-trace", f"events={events}", "-D", path)), word)
            return qemu_counts(path.read_text(encoding="latin-1"))
        started = start_doppel(peer.removeprefix("doppel-"))(guest, (*device(peer, True), "--stats-file", path))
        finished(started, word)
        return doppel_counts(path.read_text(encoding="ascii"), started.messages())


def print_counts(title, counts, mib, qemu_copied):
    """A table for each MiB moved, with what is known of QEMU's copies."""
    rows = [[title, *counts]]
    for name in ("accesses to registers", "notifications", "interrupts", "MiB copied"):
        rows.append([name, *(f"{values[name] / mib:.2f}" if name in values else qemu_copied
                             for values in counts.values())])
    print_rows(rows)
