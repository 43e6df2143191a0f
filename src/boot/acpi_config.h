// AcpiConfig: what differs between machines in their ACPI tables.
#pragma once

#include <vector>

#include "base/types.h"

namespace doppel {

// A virtio device behind memory-mapped registers (virtio 1.2, 4.2) at a fixed place.
struct VirtioMmioSlot {
  u64 address = 0;    // below 4 GiB
  u64 size = 0x200;   // registers and configuration space
  u32 interrupt = 0;  // I/O APIC input; level, active high
};

struct AcpiConfig {
  // 1..kMaxAcpiCpus. CPU i has processor UID i and APIC id i.
  unsigned cpu_count = 1;
  u8 io_apic_id = 0;
  // Whether guests should look for the keyboard controller. Its sockets are empty, so nothing is lost
  // without.
  bool has_keyboard_controller = false;
  bool has_vga = false;
  bool has_hpet = true;
  // Addresses above 4 GiB for PCI; none if the size is 0.
  u64 pci_memory64_base = 0;
  u64 pci_memory64_size = 0;
  // Pages with the generation identifier and the clock of VMs; 0: not there.
  u64 generation_page = 0;
  u64 clock_page = 0;
  std::vector<VirtioMmioSlot> virtio_mmio = {};
};
inline constexpr unsigned kMaxAcpiCpus = 1024;

}  // namespace doppel
