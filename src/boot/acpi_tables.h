// The ACPI tables of the machine, as firmware would leave them in RAM.
#pragma once

#include "base/result.h"
#include "boot/acpi_config.h"
#include "boot/e820.h"
#include "memory/guest_memory.h"

namespace doppel {

// Where the root pointer goes: the start of the area that guests search. ACPI 6.5 5.2.5.1.
inline constexpr GuestPhys kAcpiRootPointer{kBiosAreaStart};

// Writes the root pointer to kAcpiRootPointer and all tables to RAM from `at` (multiple of 64, below 4 GiB)
// on, where acpi_area_start() is meant; returns the root pointer's address. Fails when the tables do not fit
// into kAcpiAreaSize or into RAM, or for a CPU count out of range.
Result<GuestPhys> install_acpi_tables(GuestMemory& memory, GuestPhys at, const AcpiConfig& config);

}  // namespace doppel
