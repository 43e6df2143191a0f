// Flat segments: those that SYSCALL, SYSRET and their kin load without looking at descriptors, and which are.
#pragma once

#include "cpu/cpu_state.h"
#include "x86/descriptor.h"

namespace doppel {

inline Segment flat_code_segment(u16 selector, unsigned dpl, bool is_long) {
  const u16 size_bit = is_long ? x86::kAttributeLong : x86::kAttributeBig;
  return {.selector = selector,
          .attributes = static_cast<u16>(0x9b | dpl << 5 | x86::kAttributeGranularity | size_bit),
          .limit = 0xffffffff,
          .base = 0};
}

inline Segment flat_data_segment(u16 selector, unsigned dpl) {
  return {.selector = selector,
          .attributes = static_cast<u16>(0x93 | dpl << 5 | x86::kAttributeGranularity | x86::kAttributeBig),
          .limit = 0xffffffff,
          .base = 0};
}

// Data that may be read and written from its base on to 4 GiB behind it.
inline bool is_whole_data(const Segment& segment) {
  constexpr u16 kMask = x86::kAttributePresent | x86::kAttributeCodeOrData | x86::kAttributeCode |
                        x86::kAttributeExpandDown | x86::kAttributeWritable;
  constexpr u16 kWanted = x86::kAttributePresent | x86::kAttributeCodeOrData | x86::kAttributeWritable;
  return (segment.attributes & kMask) == kWanted && segment.limit == 0xffffffff;
}

// 32-bit code of protected or compatibility mode whose offsets in CS, SS, DS and ES are linear addresses.
inline bool is_flat_32bit(const CpuState& state) {
  const auto is_flat_data = [](const Segment& segment) {
    return is_whole_data(segment) && segment.base == 0;
  };
  const Segment& code = state.segment(x86::kCs);
  const Segment& stack = state.segment(x86::kSs);
  return (state.cr0 & x86::kCr0Pe) != 0 && (state.rflags & x86::kFlagVm) == 0 && code.is_32bit() &&
         code.base == 0 && code.limit == 0xffffffff && is_flat_data(stack) && stack.is_32bit() &&
         is_flat_data(state.segment(x86::kDs)) && is_flat_data(state.segment(x86::kEs));
}

}  // namespace doppel
