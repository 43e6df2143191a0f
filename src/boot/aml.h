// A tiny AML assembler: each function returns the bytes of one term.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "base/types.h"

// Encodings of ACPI 6.5 chapter 20.2 (AML) and 6.4 (resource descriptors). Names are four-character segments;
// a leading backslash makes them absolute. The caller is our own table builder, so malformed names are
// VERIFYed.
namespace doppel::aml {

using Term = std::vector<u8>;
using Terms = std::initializer_list<Term>;

// Data objects.
Term integer(u64 value);
Term string(std::string_view text);
// A compressed "PNPxxxx" identifier.
Term eisa_id(std::string_view id);
Term package(Terms elements);
// A buffer of resource descriptors, with the end tag.
Term resource_template(Terms descriptors);

// Resource descriptors: `size` ports at exactly `base`; edge, active-high interrupt of the ISA bus.
Term io_ports(u16 base, u8 size);
Term isa_irq(u8 irq);

// Named objects and scopes.
Term name(std::string_view path, const Term& value);
Term scope(std::string_view path, const Term& body);
Term device(std::string_view segment, const Term& body);

// Terms one after the other.
Term join(Terms terms);

}  // namespace doppel::aml
