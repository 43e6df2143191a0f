// The physical memory map handed to guests: where RAM, reserved areas and the ACPI tables lie.
#pragma once

#include <type_traits>
#include <vector>

#include "base/types.h"
#include "memory/guest_memory.h"

namespace doppel {

// Address range types of INT 15h, E820h. ACPI 6.5 table 15.4. The PVH start info uses the same numbers.
enum E820Type : u32 { kE820Ram = 1, kE820Reserved = 2, kE820Acpi = 3, kE820AcpiNvs = 4 };

// One entry in the layout that the Linux boot protocol and INT 15h use.
struct [[gnu::packed]] E820Entry {
  u64 base;
  u64 size;
  u32 type;

  bool operator==(const E820Entry&) const = default;
};
static_assert(sizeof(E820Entry) == 20 && std::is_trivially_copyable_v<E820Entry>);

// Fixed places of the first MiB. The extended BIOS data area takes the last KiB of conventional memory.
inline constexpr u64 kEbdaStart = 0x9fc00;
inline constexpr u64 kEbdaEnd = 0xa0000;
inline constexpr u64 kBiosAreaStart = 0xe0000;
inline constexpr u64 kBiosAreaEnd = 0x100000;

// RAM at the end of the low part that the map reports as ACPI data: the ACPI tables live here, so loaders
// place nothing at or above acpi_area_start(). Guests of less than 2 MiB have no such area.
inline constexpr u64 kAcpiAreaSize = 256 * kKiB;
// Pages at the end of the area that machine and guest share as long as the guest runs: reserved in the map.
inline constexpr u64 kSharedPagesSize = 16 * kKiB;
inline constexpr u64 kMinSizeWithAcpi = 2 * kMiB;

// Where the ACPI area starts; low_size() when the guest is too small to have one.
GuestPhys acpi_area_start(const GuestMemory& memory);
// Where the shared pages start; low_size() when there is no ACPI area.
GuestPhys shared_pages_start(const GuestMemory& memory);

// Sorted by address, without overlaps: what firmware would report for this RAM size.
std::vector<E820Entry> build_e820(const GuestMemory& memory);

}  // namespace doppel
