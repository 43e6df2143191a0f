// Page walks for debuggers: the same addresses as the paging unit's, and nothing left behind.
#include "cpu/debug_walk.h"

#include "cpu/mmu_fixture.h"

namespace doppel {
namespace {

using namespace mmu_test;  // NOLINT(google-build-using-namespace): the fixture's words

class DebugWalkTest : public PagingUnit {
 protected:
  std::optional<DebugTranslation> walk(u64 va) { return debug_walk(state, *memory, GuestVirt(va)); }
};

TEST_F(DebugWalkTest, FindsThePhysicalAddress) {
  map(kPage, 0x123000 | kSystem);
  const std::optional<DebugTranslation> found = walk(kPage + 0x45);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->physical, GuestPhys(0x123045));
  EXPECT_EQ(found->levels, 4u);
  EXPECT_TRUE(found->is_writable);
  EXPECT_FALSE(found->is_user);
}

TEST_F(DebugWalkTest, SetsNoAccessedOrDirtyBit) {
  map(kPage, 0x123000 | kSystem);
  walk(kPage);
  EXPECT_EQ(entry_at(kLowTable + (kPage >> 12) * 8), 0x123000 | kSystem);
  EXPECT_EQ(entry_at(kTop) & kAccessed, 0u);
}

TEST_F(DebugWalkTest, FollowsLargePages) {
  map_large(0x200000, 0x200000 | kAny);
  const std::optional<DebugTranslation> found = walk(0x234567);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->physical, GuestPhys(0x234567));
  EXPECT_EQ(found->page_size, 2 * kMiB);
  EXPECT_EQ(found->levels, 3u);
}

TEST_F(DebugWalkTest, UnmappedAndNonCanonicalAddressesLeadNowhere) {
  EXPECT_FALSE(walk(kPage));
  EXPECT_FALSE(walk(0x0000800000000000));
}

TEST_F(DebugWalkTest, TablesOutsideRamLeadNowhere) {
  set(kTop, 0xfee00000 | kAny);
  EXPECT_FALSE(walk(kPage));
}

TEST_F(DebugWalkTest, RightsAreThoseOfAllLevels) {
  map(kPage, 0x123000 | kAny);
  set(kLowDirectory, kLowTable | kPresent);
  const std::optional<DebugTranslation> found = walk(kPage);
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->is_writable);
  EXPECT_FALSE(found->is_user);
}

TEST_F(DebugWalkTest, WithoutPagingAddressesArePhysical) {
  state.cr0 = x86::kCr0Pe;
  state.efer = 0;
  const std::optional<DebugTranslation> found = walk(0x1234);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->physical, GuestPhys(0x1234));
  EXPECT_EQ(found->levels, 0u);
}

TEST_F(DebugWalkTest, WalksTwoLevelTables) {
  state.efer = 0;
  state.cr4 = x86::kCr4Pse;
  memory->write_value<u32>(GuestPhys(kTop + 4), 0x00400000 | 0x83);
  const std::optional<DebugTranslation> found = walk(0x0041f003);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->physical, GuestPhys(0x41f003));
  EXPECT_EQ(found->page_size, 4 * kMiB);
}

}  // namespace
}  // namespace doppel
