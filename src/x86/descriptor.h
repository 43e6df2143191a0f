// Descriptors, selectors, gates and task-state segments as they lie in guest memory. SDM 3A 3.4, 3.5, 7.2.
#pragma once

#include "base/types.h"

namespace doppel::x86 {

// A segment selector. SDM 3A 3.4.2.
struct Selector {
  u16 value = 0;
  constexpr unsigned rpl() const { return value & 3; }
  constexpr bool is_local() const { return (value & 4) != 0; }
  constexpr unsigned offset() const { return value & 0xfff8u; }
  // The selector as an error code: RPL cleared (EXT is added at delivery).
  constexpr u16 error_code() const { return value & 0xfffc; }
  constexpr bool is_null() const { return (value & 0xfffc) == 0; }
};

// System segment and gate types. SDM 3A table 3-2.
enum SystemType : u8 {
  kTss16Available = 1,
  kLdt = 2,
  kTss16Busy = 3,
  kCallGate16 = 4,
  kTaskGate = 5,
  kInterruptGate16 = 6,
  kTrapGate16 = 7,
  kTss32Available = 9,
  kTss32Busy = 11,
  kCallGate32 = 12,
  kInterruptGate32 = 14,
  kTrapGate32 = 15,
};

// Bits of Segment::attributes.
inline constexpr u16 kAttributeAccessed = 1u << 0;
inline constexpr u16 kAttributeWritable = 1u << 1;    // readable for code
inline constexpr u16 kAttributeExpandDown = 1u << 2;  // conforming for code
inline constexpr u16 kAttributeCode = 1u << 3;
inline constexpr u16 kAttributeCodeOrData = 1u << 4;
inline constexpr u16 kAttributePresent = 1u << 7;
inline constexpr u16 kAttributeAvailable = 1u << 12;
inline constexpr u16 kAttributeLong = 1u << 13;
inline constexpr u16 kAttributeBig = 1u << 14;
inline constexpr u16 kAttributeGranularity = 1u << 15;

// The eight bytes of a descriptor; system descriptors in long mode have eight more.
struct Descriptor {
  u64 raw = 0;

  constexpr u64 base() const { return ((raw >> 16) & 0xffffff) | ((raw >> 32) & 0xff000000); }
  constexpr u32 limit() const {
    const u32 value = static_cast<u32>((raw & 0xffff) | ((raw >> 32) & 0xf0000));
    return (raw >> 55 & 1) != 0 ? (value << 12 | 0xfff) : value;
  }
  constexpr u16 attributes() const { return static_cast<u16>((raw >> 40) & 0xf0ff); }
  constexpr unsigned type() const { return (raw >> 40) & 0xf; }
  constexpr unsigned dpl() const { return (raw >> 45) & 3; }
  constexpr bool is_code_or_data() const { return (raw >> 44 & 1) != 0; }
  constexpr bool is_present() const { return (raw >> 47 & 1) != 0; }
  constexpr bool is_code() const { return is_code_or_data() && (type() & 8) != 0; }
  constexpr bool is_data() const { return is_code_or_data() && (type() & 8) == 0; }
  constexpr bool is_conforming() const { return is_code() && (type() & 4) != 0; }
  constexpr bool is_readable() const { return is_data() || (type() & 2) != 0; }
  constexpr bool is_writable_data() const { return is_data() && (type() & 2) != 0; }
  constexpr bool is_long() const { return (raw >> 53 & 1) != 0; }
  constexpr bool is_big() const { return (raw >> 54 & 1) != 0; }

  // As a gate.
  constexpr u16 gate_selector() const { return static_cast<u16>(raw >> 16); }
  constexpr u32 gate_offset() const { return static_cast<u32>((raw & 0xffff) | ((raw >> 32) & 0xffff0000)); }
  constexpr unsigned gate_parameters() const { return (raw >> 32) & 0x1f; }
  constexpr unsigned gate_ist() const { return (raw >> 32) & 7; }
};

}  // namespace doppel::x86
