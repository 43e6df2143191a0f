// What firmware leaves about the machine's memory in the CMOS memory of the real-time clock.
#pragma once

#include <span>

#include "base/types.h"

namespace doppel {

inline constexpr unsigned kCmosSize = 128;

// RAM sizes that firmware leaves in CMOS memory.
struct CmosMemorySize {
  u64 below_4g = 0;  // bytes from address 0 to the end of low RAM
  u64 above_4g = 0;  // bytes of RAM from 4 GiB on
};

// The size bytes 0x15..0x18, 0x30, 0x31, 0x34, 0x35 and 0x5b..0x5d, saturated where they are too narrow, the
// equipment byte and the checksum.
void fill_cmos_memory_size(std::span<u8, kCmosSize> cmos, const CmosMemorySize& memory);

}  // namespace doppel
