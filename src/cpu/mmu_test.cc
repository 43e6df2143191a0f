// The software TLB: what it holds, what makes it forget, and what page walks leave behind.
#include "cpu/mmu_fixture.h"

namespace doppel {
namespace {

using namespace mmu_test;

// Filling

TEST_F(PagingUnit, HoldsATranslationOnceItIsFilled) {
  map(kPage, 0x10000 | kSystem);
  EXPECT_FALSE(can_read(kPage));
  const Translation translation = fill(kPage + 0x123);
  EXPECT_TRUE(translation.is_valid);
  EXPECT_EQ(translation.physical, GuestPhys(0x10123));
  EXPECT_TRUE(can_read(kPage));
  EXPECT_EQ(mmu.table(kSupervisor).read.find(kPage, 1), memory->host(GuestPhys(0x10000)));
}

TEST_F(PagingUnit, HoldsNothingForAnAbsentPage) {
  const Translation translation = fill(kPage, Access::kWrite, kUser);
  EXPECT_FALSE(translation.is_valid);
  EXPECT_EQ(translation.error_code, x86::kPfWrite | x86::kPfUser);
  EXPECT_FALSE(can_read(kPage, kUser));
  EXPECT_EQ(mmu.statistics().page_faults, 1u);
}

TEST_F(PagingUnit, HoldsNothingForDeviceMemory) {
  map(kPage, 0xfee00000 | kSystem);
  EXPECT_EQ(fill(kPage).physical, GuestPhys(0xfee00000));
  EXPECT_FALSE(can_read(kPage));
}

TEST_F(PagingUnit, HoldsNothingWhileWatchingForBreakpoints) {
  map(kPage, 0x10000 | kSystem);
  mmu.set_watched(true);
  EXPECT_TRUE(fill(kPage).is_valid);
  EXPECT_FALSE(can_read(kPage));
  mmu.set_watched(false);
  fill(kPage);
  EXPECT_TRUE(can_read(kPage));
}

TEST_F(PagingUnit, ReportsReservedBits) {
  map(kPage, 0x10000 | kSystem | u64{1} << 50);
  EXPECT_EQ(fill(kPage).error_code, x86::kPfPresent | x86::kPfReserved);
}

TEST_F(PagingUnit, MapsOneToOneWithoutPaging) {
  state.cr0 = x86::kCr0Pe;
  EXPECT_EQ(fill(0x12345).physical, GuestPhys(0x12345));
  EXPECT_TRUE(can_write(0x12000));
}

// Accessed and dirty bits

TEST_F(PagingUnit, ReadSetsAccessedBitsOnTheWay) {
  map(kPage, 0x10000 | kSystem);
  fill(kPage);
  EXPECT_EQ(entry_at(kLowTable + 5 * 8), 0x10000 | kSystem | kAccessed);
  EXPECT_EQ(entry_at(kLowDirectory), kLowTable | kAny | kAccessed);
  EXPECT_EQ(entry_at(kTop), 0x2000 | kAny | kAccessed);
}

TEST_F(PagingUnit, WriteSetsTheDirtyBitOfThePageOnly) {
  map(kPage, 0x10000 | kSystem);
  fill(kPage, Access::kWrite);
  EXPECT_EQ(entry_at(kLowTable + 5 * 8), 0x10000 | kSystem | kAccessed | kDirty);
  EXPECT_EQ(entry_at(kLowDirectory), kLowTable | kAny | kAccessed);
}

TEST_F(PagingUnit, FaultLeavesThePagesEntryAlone) {
  map(kPage, 0x10000 | kPresent);
  EXPECT_FALSE(fill(kPage, Access::kWrite).is_valid);
  EXPECT_EQ(entry_at(kLowTable + 5 * 8), 0x10000 | kPresent);
}

TEST_F(PagingUnit, ReadOfACleanPageDoesNotAllowWrites) {
  map(kPage, 0x10000 | kSystem);
  fill(kPage);
  EXPECT_TRUE(can_read(kPage));
  EXPECT_FALSE(can_write(kPage));
  fill(kPage, Access::kWrite);
  EXPECT_TRUE(can_write(kPage));
}

TEST_F(PagingUnit, ReadOfADirtyPageAllowsWrites) {
  map(kPage, 0x10000 | kSystem | kDirty);
  fill(kPage);
  EXPECT_TRUE(can_write(kPage));
}

// Rights

TEST_F(PagingUnit, KeepsTheRightsOfModesApart) {
  map(kPage, 0x10000 | kAny);
  fill(kPage, Access::kWrite, kUser);
  EXPECT_TRUE(can_write(kPage, kUser));
  EXPECT_FALSE(can_read(kPage, kSupervisor));
  EXPECT_FALSE(can_read(kPage, kSupervisorAc));
}

TEST_F(PagingUnit, UserMayNotTouchSupervisorPages) {
  map(kPage, 0x10000 | kSystem);
  EXPECT_TRUE(fill(kPage).is_valid);
  EXPECT_EQ(fill(kPage, Access::kRead, kUser).error_code, x86::kPfPresent | x86::kPfUser);
}

TEST_F(PagingUnit, SmapKeepsTheSupervisorOffUserPagesUnlessAcIsSet) {
  state.cr4 |= x86::kCr4Smap;
  map(kPage, 0x10000 | kAny);
  EXPECT_EQ(fill(kPage).error_code, x86::kPfPresent);
  EXPECT_TRUE(fill(kPage, Access::kRead, kSupervisorAc).is_valid);
  EXPECT_FALSE(can_read(kPage, kSupervisor));
  EXPECT_TRUE(can_read(kPage, kSupervisorAc));
}

TEST_F(PagingUnit, WriteProtectionOfTheSupervisorDependsOnCr0) {
  map(kPage, 0x10000 | kPresent);
  EXPECT_EQ(fill(kPage, Access::kWrite).error_code, x86::kPfPresent | x86::kPfWrite);
  state.cr0 &= ~x86::kCr0Wp;
  EXPECT_TRUE(fill(kPage, Access::kWrite).is_valid);
}

// Staleness and flushes

TEST_F(PagingUnit, StaysStaleUntilThePageIsFlushed) {
  map(kPage, 0x10000 | kSystem);
  fill(kPage);
  map(kPage, 0x11000 | kSystem);
  EXPECT_TRUE(can_read(kPage));
  EXPECT_EQ(cached_frame(kPage), 0x10000u);
  mmu.flush_page(GuestVirt(kPage + 0xfff));
  EXPECT_FALSE(can_read(kPage));
  fill(kPage);
  EXPECT_EQ(cached_frame(kPage), 0x11000u);
}

TEST_F(PagingUnit, FlushOfOnePageLeavesTheOthers) {
  map(kPage, 0x10000 | kSystem);
  map(kPage + 0x1000, 0x11000 | kSystem);
  fill(kPage);
  fill(kPage + 0x1000);
  mmu.flush_page(GuestVirt(kPage));
  EXPECT_TRUE(can_read(kPage + 0x1000));
}

TEST_F(PagingUnit, FlushLeavesAnotherPageInTheSameEntry) {
  map(kPage, 0x10000 | kSystem);
  fill(kPage);
  const u64 rival = kPage + kTlbEntries * kPageSize;
  ASSERT_EQ(tlb_index(rival), tlb_index(kPage));
  mmu.flush_page(GuestVirt(rival));
  EXPECT_TRUE(can_read(kPage));
}

TEST_F(PagingUnit, FlushOfALargePageDropsAllOfIt) {
  map_large(0x200000, 0x200000 | kSystem);
  fill(0x200000);
  fill(0x3ff000);
  mmu.flush_page(GuestVirt(0x2ab000));
  EXPECT_FALSE(can_read(0x200000));
  EXPECT_FALSE(can_read(0x3ff000));
}

TEST_F(PagingUnit, FlushOfAPageReachesEveryMode) {
  map(kPage, 0x10000 | kAny);
  fill(kPage, Access::kRead, kUser);
  fill(kPage, Access::kRead, kSupervisorAc);
  mmu.flush_page(GuestVirt(kPage));
  EXPECT_FALSE(can_read(kPage, kUser));
  EXPECT_FALSE(can_read(kPage, kSupervisorAc));
}

TEST_F(PagingUnit, CountsWalksByTheEntriesTheyRead) {
  map(kPage, 0x10000 | kSystem);
  map_large(0x200000, 0x200000 | kSystem);
  fill(kPage);
  fill(0x200000);
  fill(kPage + kPageSize);  // not mapped
  EXPECT_EQ(mmu.statistics().walks[4], 1u);
  EXPECT_EQ(mmu.statistics().walks[3], 1u);
  EXPECT_EQ(mmu.statistics().failed_walks[4], 1u);
}

TEST_F(PagingUnit, NestedPagingCostsAWalkForEveryTableAndThePage) {
  map(kPage, 0x10000 | kSystem);
  fill(kPage);
  EXPECT_EQ(mmu.statistics().nested_references(4), 24u);  // 4 * 4 + 4 + 4
  EXPECT_EQ(mmu.statistics().nested_references(3), 19u);
  fill(kPage + kPageSize);  // fails at the last table
  EXPECT_EQ(mmu.statistics().nested_references(4), 44u);
}

TEST_F(PagingUnit, FlushAllDropsGlobalPagesToo) {
  state.cr4 |= x86::kCr4Pge;
  map(kPage, 0x10000 | kSystem | kGlobal);
  fill(kPage);
  mmu.flush_all();
  EXPECT_FALSE(can_read(kPage));
}

}  // namespace
}  // namespace doppel
