// Size bytes and checksum of the CMOS memory.
#include "irq/cmos_memory.h"

#include <algorithm>

namespace doppel {
namespace {

constexpr unsigned kEquipment = 0x14;
constexpr unsigned kBaseMemory = 0x15;           // KiB below 1 MiB
constexpr unsigned kExtendedMemory = 0x17;       // KiB above 1 MiB
constexpr unsigned kExtendedMemoryFound = 0x30;  // the same, as measured
constexpr unsigned kMemoryAbove16M = 0x34;       // in 64 KiB
constexpr unsigned kMemoryAbove4G = 0x5b;        // in 64 KiB, three bytes
constexpr unsigned kChecksumFirst = 0x10;
constexpr unsigned kChecksumLast = 0x2d;
constexpr unsigned kChecksum = 0x2e;  // high byte first

constexpr u8 kHasCoprocessor = 0x02;

// Little-endian in `width` bytes.
void store(std::span<u8, kCmosSize> cmos, unsigned index, unsigned width, u64 value) {
  value = std::min(value, (u64{1} << (8 * width)) - 1);
  for (unsigned i = 0; i < width; ++i) cmos[index + i] = static_cast<u8>(value >> (8 * i));
}

}  // namespace

void fill_cmos_memory_size(std::span<u8, kCmosSize> cmos, const CmosMemorySize& memory) {
  const u64 above_1m = memory.below_4g - std::min(memory.below_4g, kMiB);
  const u64 above_16m = memory.below_4g - std::min(memory.below_4g, 16 * kMiB);
  cmos[kEquipment] = kHasCoprocessor;
  store(cmos, kBaseMemory, 2, std::min(memory.below_4g / kKiB, u64{640}));
  store(cmos, kExtendedMemory, 2, above_1m / kKiB);
  store(cmos, kExtendedMemoryFound, 2, above_1m / kKiB);
  store(cmos, kMemoryAbove16M, 2, above_16m / (64 * kKiB));
  store(cmos, kMemoryAbove4G, 3, memory.above_4g / (64 * kKiB));
  unsigned sum = 0;
  for (unsigned i = kChecksumFirst; i <= kChecksumLast; ++i) sum += cmos[i];
  cmos[kChecksum] = static_cast<u8>(sum >> 8);
  cmos[kChecksum + 1] = static_cast<u8>(sum);
}

}  // namespace doppel
