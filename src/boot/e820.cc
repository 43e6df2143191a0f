// Builds the physical memory map of a PC with the given RAM size.
#include "boot/e820.h"

#include "devices/port_map.h"

namespace doppel {

namespace {

constexpr u64 kFirmwareFlashStart = 0xfffc0000;  // the reset vector's neighbourhood below 4 GiB
constexpr u64 kFirmwareFlashEnd = 4 * kGiB;

void append(std::vector<E820Entry>& map, u64 start, u64 end, E820Type type) {
  if (start < end) map.push_back({start, end - start, type});
}

}  // namespace

GuestPhys acpi_area_start(const GuestMemory& memory) {
  const u64 low_end = memory.low_size();
  if (low_end < kMinSizeWithAcpi) return GuestPhys(low_end);
  return GuestPhys(align_down(low_end - kAcpiAreaSize, kPageSize));
}

GuestPhys shared_pages_start(const GuestMemory& memory) {
  const u64 low_end = memory.low_size();
  if (low_end < kMinSizeWithAcpi) return GuestPhys(low_end);
  return GuestPhys(align_down(low_end, kPageSize) - kSharedPagesSize);
}

std::vector<E820Entry> build_e820(const GuestMemory& memory) {
  const u64 acpi_start = acpi_area_start(memory).value();
  std::vector<E820Entry> map;
  append(map, 0, kEbdaStart, kE820Ram);
  append(map, kEbdaStart, kEbdaEnd, kE820Reserved);
  append(map, kBiosAreaStart, kBiosAreaEnd, kE820Reserved);
  append(map, kMiB, acpi_start, kE820Ram);
  const u64 shared_start = shared_pages_start(memory).value();
  append(map, acpi_start, shared_start, kE820Acpi);
  append(map, shared_start, memory.low_size(), kE820Reserved);
  append(map, kEcamAddress, kEcamAddress + kEcamSize, kE820Reserved);
  append(map, kIoApicAddress, kIoApicAddress + kPageSize, kE820Reserved);
  append(map, kLocalApicAddress, kLocalApicAddress + kPageSize, kE820Reserved);
  append(map, kFirmwareFlashStart, kFirmwareFlashEnd, kE820Reserved);
  append(map, GuestMemory::kHighRamStart, GuestMemory::kHighRamStart + memory.high_size(), kE820Ram);
  return map;
}

}  // namespace doppel
