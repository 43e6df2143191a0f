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
Term package(const std::vector<Term>& elements);
// A buffer of the descriptors of aml_resources.h, with the end tag.
Term resource_template(Terms descriptors);
Term resource_template(const std::vector<Term>& descriptors);

// Named objects and scopes.
Term name(std::string_view path, const Term& value);
Term scope(std::string_view path, const Term& body);
Term device(std::string_view segment, const Term& body);

// Code. A reference is a use of a named object; `length` of arguments is 0..7.
Term reference(std::string_view path);
Term argument(unsigned index);
Term method(std::string_view segment, unsigned arguments, const Term& body);
Term when(const Term& condition, const Term& body);  // If
Term give(const Term& value);                        // Return
Term store(const Term& value, const Term& target);
Term notify(const Term& object, u8 value);
// Names four bytes of a buffer.
Term dword_field(const Term& buffer, u64 offset, std::string_view segment);

// Terms one after the other.
Term join(Terms terms);

}  // namespace doppel::aml
