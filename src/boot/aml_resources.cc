// Byte encodings of resource descriptors.
#include "boot/aml_resources.h"

#include <array>
#include <span>

#include "base/verify.h"

namespace doppel::aml {
namespace {

constexpr u8 kIrqDescriptor = 0x22;  // two bytes of data: no flags, hence edge and active high
constexpr u8 kIoDescriptor = 0x47;
constexpr u8 kFixedMemoryDescriptor = 0x86;
constexpr u8 kDwordSpaceDescriptor = 0x87;
constexpr u8 kWordSpaceDescriptor = 0x88;
constexpr u8 kInterruptDescriptor = 0x89;
constexpr u8 kQwordSpaceDescriptor = 0x8a;

// ACPI 6.5 6.4.3.5: resource types and general flags of address spaces.
constexpr u8 kMemorySpace = 0;
constexpr u8 kIoSpace = 1;
constexpr u8 kBusSpace = 2;
constexpr u8 kFixedRange = 0x0c;  // minimum and maximum are fixed; decoded; a producer
constexpr u8 kReadWrite = 1;
constexpr u8 kEntireRange = 3;

void append_number(Term& to, u64 value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) to.push_back(static_cast<u8>(value >> (8 * i)));
}

// Granularity, minimum, maximum, translation and length in numbers of `width` bytes.
Term address_space(u8 descriptor, unsigned width, u8 type, u8 type_flags, u64 base, u64 size) {
  constexpr u16 kHeader = 3;
  Term term = {descriptor};
  append_number(term, kHeader + u64{5} * width, 2);
  term.insert(term.end(), {type, kFixedRange, type_flags});
  for (const u64 number : std::array<u64, 5>{0, base, base + (size - 1), 0, size}) {
    append_number(term, number, width);
  }
  return term;
}

}  // namespace

// ACPI 6.5 6.4.2.5.
Term io_ports(u16 base, u8 size) {
  constexpr u8 kDecodes16Bits = 1;
  Term term = {kIoDescriptor, kDecodes16Bits};
  append_number(term, base, 2);  // lowest base
  append_number(term, base, 2);  // highest base
  term.push_back(1);             // alignment
  term.push_back(size);
  return term;
}

Term isa_irq(u8 irq) {
  VERIFY(irq < 16);
  Term term = {kIrqDescriptor};
  append_number(term, u64{1} << irq, 2);
  return term;
}

// ACPI 6.5 6.4.3.4.
Term fixed_memory(u32 base, u32 size) {
  Term term = {kFixedMemoryDescriptor};
  append_number(term, 9, 2);
  term.push_back(kReadWrite);
  append_number(term, base, 4);
  append_number(term, size, 4);
  return term;
}

// ACPI 6.5 6.4.3.6.
Term io_apic_input(u32 input) {
  constexpr u8 kConsumer = 1 << 0;
  constexpr u8 kShared = 1 << 3;
  Term term = {kInterruptDescriptor};
  append_number(term, 6, 2);
  term.push_back(kConsumer | kShared);
  term.push_back(1);  // number of interrupts
  append_number(term, input, 4);
  return term;
}

Term bus_numbers(u16 first, u16 last) {
  return address_space(kWordSpaceDescriptor, 2, kBusSpace, 0, first, u64{last} - first + 1);
}

Term io_window(u16 base, u32 size) {
  return address_space(kWordSpaceDescriptor, 2, kIoSpace, kEntireRange, base, size);
}

Term memory_window32(u32 base, u32 size) {
  return address_space(kDwordSpaceDescriptor, 4, kMemorySpace, kReadWrite, base, size);
}

Term memory_window64(u64 base, u64 size) {
  return address_space(kQwordSpaceDescriptor, 8, kMemorySpace, kReadWrite, base, size);
}

}  // namespace doppel::aml
