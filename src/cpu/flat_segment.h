// The flat segments that SYSCALL, SYSRET and their kin load without looking at descriptors.
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

}  // namespace doppel
