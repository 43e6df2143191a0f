// The AML of the machine: sleep state, PCI, fixed devices and processors.
#pragma once

#include <vector>

#include "base/types.h"
#include "boot/acpi_config.h"

namespace doppel {

// The body of the DSDT, without the table header.
std::vector<u8> build_dsdt_aml(const AcpiConfig& config);

}  // namespace doppel
