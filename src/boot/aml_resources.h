// Resource descriptors of AML: what devices occupy and what bridges pass on.
#pragma once

#include "boot/aml.h"

// ACPI 6.5 6.4. For the elements of aml::resource_template().
namespace doppel::aml {

// `size` ports at exactly `base`; an edge, active-high interrupt of the ISA bus.
Term io_ports(u16 base, u8 size);
Term isa_irq(u8 irq);

// `size` bytes at exactly `base`, below 4 GiB.
Term fixed_memory(u32 base, u32 size);
// A level, active-high interrupt by its I/O APIC input, which may be shared.
Term io_apic_input(u32 input);

// What a bridge hands to the bus behind it.
Term bus_numbers(u16 first, u16 last);
Term io_window(u16 base, u32 size);
Term memory_window32(u32 base, u32 size);
Term memory_window64(u64 base, u64 size);

}  // namespace doppel::aml
