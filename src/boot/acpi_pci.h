// The AML of the PCI host bridge: its windows and its interrupt routing.
#pragma once

#include "boot/acpi_config.h"
#include "boot/aml.h"

namespace doppel {

// Objects of the root: which interrupt model the guest chose. ACPI 6.5 5.8.1.
aml::Term interrupt_model();
// The host bridge and the reservation of its configuration space, for the scope \_SB.
aml::Term pci_host_bridge(const AcpiConfig& config);

}  // namespace doppel
