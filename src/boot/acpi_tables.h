// The ACPI tables of the machine, as firmware would leave them in RAM.
#pragma once

#include "base/result.h"
#include "boot/e820.h"
#include "memory/guest_memory.h"

namespace doppel {

struct AcpiConfig {
  // 1..kMaxAcpiCpus. CPU i has processor UID i and APIC id i.
  unsigned cpu_count = 1;
  u8 io_apic_id = 0;
  // Whether guests should look for the keyboard controller. Its sockets are empty, so nothing is lost
  // without.
  bool has_keyboard_controller = false;
  bool has_vga = false;
};
inline constexpr unsigned kMaxAcpiCpus = 1024;

// Where the root pointer goes: the start of the area that guests search. ACPI 6.5 5.2.5.1.
inline constexpr GuestPhys kAcpiRootPointer{kBiosAreaStart};

// Writes the root pointer to kAcpiRootPointer and all tables to RAM from `at` (multiple of 64, below 4 GiB)
// on, where acpi_area_start() is meant; returns the root pointer's address. Fails when the tables do not fit
// into kAcpiAreaSize or into RAM, or for a CPU count out of range.
Result<GuestPhys> install_acpi_tables(GuestMemory& memory, GuestPhys at, const AcpiConfig& config);

}  // namespace doppel
