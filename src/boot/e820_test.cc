// Memory maps for small, ordinary and large machines.
#include "boot/e820.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace doppel {
namespace {

std::vector<E820Entry> map_for(u64 size) { return build_e820(*GuestMemory::create(size).value()); }

bool has(const std::vector<E820Entry>& map, u64 start, u64 end, u32 type) {
  return std::ranges::find(map, E820Entry{start, end - start, type}) != map.end();
}

u64 total(const std::vector<E820Entry>& map, u32 type) {
  u64 sum = 0;
  for (const E820Entry& entry : map) sum += entry.type == type ? entry.size : 0;
  return sum;
}

TEST(E820, ConventionalMemoryEndsAtTheExtendedBiosDataArea) {
  const auto map = map_for(64 * kMiB);
  EXPECT_TRUE(has(map, 0, 0x9fc00, kE820Ram));
  EXPECT_TRUE(has(map, 0x9fc00, 0xa0000, kE820Reserved));
  EXPECT_TRUE(has(map, 0xe0000, 0x100000, kE820Reserved));
}

TEST(E820, AcpiAreaIsTheEndOfLowRam) {
  const auto map = map_for(64 * kMiB);
  EXPECT_TRUE(has(map, kMiB, 64 * kMiB - kAcpiAreaSize, kE820Ram));
  EXPECT_TRUE(has(map, 64 * kMiB - kAcpiAreaSize, 64 * kMiB - kSharedPagesSize, kE820Acpi));
}

TEST(E820, SharedPagesAreReserved) {
  const auto map = map_for(64 * kMiB);
  EXPECT_TRUE(has(map, 64 * kMiB - kSharedPagesSize, 64 * kMiB, kE820Reserved));
  EXPECT_EQ(shared_pages_start(*GuestMemory::create(64 * kMiB).value()).value(),
            64 * kMiB - kSharedPagesSize);
}

TEST(E820, PciConfigurationSpaceIsReserved) {
  EXPECT_TRUE(has(map_for(64 * kMiB), 0xe0000000, 0xe0100000, kE820Reserved));
}

TEST(E820, InterruptControllersAreReserved) {
  const auto map = map_for(64 * kMiB);
  EXPECT_TRUE(has(map, 0xfec00000, 0xfec01000, kE820Reserved));
  EXPECT_TRUE(has(map, 0xfee00000, 0xfee01000, kE820Reserved));
}

TEST(E820, RamAboveTheHoleStartsAtFourGiB) {
  const auto map = map_for(5 * kGiB);
  EXPECT_TRUE(has(map, kMiB, 3 * kGiB - kAcpiAreaSize, kE820Ram));
  EXPECT_TRUE(has(map, 4 * kGiB, 6 * kGiB, kE820Ram));
}

TEST(E820, SmallMachinesHaveNoHighEntry) {
  const u64 last = map_for(64 * kMiB).back().base;
  EXPECT_LT(last, 4 * kGiB);
}

TEST(E820, OneMiBMachineHasConventionalMemoryOnly) {
  const auto map = map_for(kMiB);
  EXPECT_EQ(total(map, kE820Ram), 0x9fc00u);
  EXPECT_EQ(total(map, kE820Acpi), 0u);
}

TEST(E820, OnlyTheLegacyAreaIsLost) {
  EXPECT_EQ(total(map_for(5 * kGiB), kE820Ram) + kAcpiAreaSize + (kMiB - kEbdaStart), 5 * kGiB);
}

TEST(E820, EntriesAreSortedAndDisjoint) {
  const auto map = map_for(5 * kGiB);
  auto overlaps = [](const E820Entry& a, const E820Entry& b) { return a.base + a.size > b.base; };
  EXPECT_EQ(std::ranges::adjacent_find(map, overlaps), map.end());
}

}  // namespace
}  // namespace doppel
