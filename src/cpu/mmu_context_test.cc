// The software TLB: address spaces, code epochs and frames with decoded instructions.
#include "cpu/mmu_fixture.h"

namespace doppel {
namespace {

using namespace mmu_test;

// Address spaces

TEST_F(PagingUnit, WriteOfCr3DropsTranslationsWithoutPcids) {
  map(kPage, 0x10000 | kSystem);
  fill(kPage);
  write_cr3(kTop);
  EXPECT_FALSE(can_read(kPage));
}

TEST_F(PagingUnit, PcidKeepsItsTranslationsWithBit63) {
  use_pcids();
  map(kPage, 0x10000 | kSystem);
  write_cr3(kTop | 1);
  fill(kPage);
  write_cr3(kOtherTop | 2);
  EXPECT_FALSE(can_read(kPage));
  write_cr3(kTop | 1 | kKeep);
  EXPECT_TRUE(can_read(kPage));
}

TEST_F(PagingUnit, PcidLosesItsTranslationsWithoutBit63) {
  use_pcids();
  map(kPage, 0x10000 | kSystem);
  write_cr3(kTop | 1);
  fill(kPage);
  write_cr3(kOtherTop | 2);
  write_cr3(kTop | 1);
  EXPECT_FALSE(can_read(kPage));
}

TEST_F(PagingUnit, ReusedContextStartsEmptyEvenWithBit63) {
  use_pcids();
  map(kPage, 0x10000 | kSystem);
  write_cr3(kTop | 1);
  fill(kPage);
  write_cr3(kTop | 2 | kKeep);
  EXPECT_FALSE(can_read(kPage));
}

TEST_F(PagingUnit, FlushOfAPageReachesOtherPcids) {
  use_pcids();
  map(kPage, 0x10000 | kSystem);
  write_cr3(kTop | 1);
  fill(kPage);
  write_cr3(kOtherTop | 2);
  mmu.flush_page(GuestVirt(kPage));
  write_cr3(kTop | 1 | kKeep);
  EXPECT_FALSE(can_read(kPage));
}

TEST_F(PagingUnit, FlushOfAContextLeavesOtherPcids) {
  use_pcids();
  map(kPage, 0x10000 | kSystem);
  write_cr3(kTop | 1);
  fill(kPage);
  write_cr3(kOtherTop | 2);
  fill(kPage);
  mmu.flush_context(1);
  EXPECT_TRUE(can_read(kPage));
  write_cr3(kTop | 1 | kKeep);
  EXPECT_FALSE(can_read(kPage));
}

// Code

TEST_F(PagingUnit, CodeStaysStaleUntilThePageIsFlushed) {
  map(kPage, 0x10000 | kSystem);
  EXPECT_EQ(fetched_frame(kPage), 0x10000u);
  map(kPage, 0x11000 | kSystem);
  EXPECT_EQ(fetched_frame(kPage), 0x10000u);
  mmu.flush_page(GuestVirt(kPage));
  EXPECT_EQ(fetched_frame(kPage), 0x11000u);
}

TEST_F(PagingUnit, CodeEpochOutlivesFlushesOfOtherPages) {
  map(kPage, 0x10000 | kSystem);
  fetch(kPage);
  const u64 before = low_epoch();
  mmu.flush_page(GuestVirt(kPage + 0x1000));
  EXPECT_EQ(low_epoch(), before);
  mmu.flush_page(GuestVirt(kPage));
  EXPECT_NE(low_epoch(), before);
}

TEST_F(PagingUnit, CodeEpochEndsWithAnyPageOfTheLargePageItCameFrom) {
  map_large(0x200000, 0x200000 | kSystem);
  fetch(0x200000);
  const u64 before = low_epoch();
  mmu.flush_page(GuestVirt(0x3ff000));
  EXPECT_NE(low_epoch(), before);
}

TEST_F(PagingUnit, CodeEpochsOfTheHalvesAreSeparate) {
  map(kPage, 0x10000 | kSystem);
  map(kKernel + 0x1000, 0x11000 | kSystem);
  fetch(kPage);
  fetch(kKernel + 0x1000);
  const u64 low = low_epoch();
  const u64 high = kernel_epoch();
  mmu.flush_page(GuestVirt(kPage));
  EXPECT_NE(low_epoch(), low);
  EXPECT_EQ(kernel_epoch(), high);
}

TEST_F(PagingUnit, CodeEpochOfGlobalPagesOutlivesWritesOfCr3) {
  state.cr4 |= x86::kCr4Pge;
  map(kKernel + 0x1000, 0x11000 | kSystem | kGlobal);
  fetch(kKernel + 0x1000);
  const u64 high = kernel_epoch();
  const u64 low = low_epoch();
  write_cr3(kTop);
  EXPECT_EQ(kernel_epoch(), high);
  EXPECT_NE(low_epoch(), low);
}

TEST_F(PagingUnit, CodeEpochOfLocalPagesOfTheUpperHalfEndsWithWritesOfCr3) {
  map(kKernel + 0x1000, 0x11000 | kSystem);
  fetch(kKernel + 0x1000);
  const u64 high = kernel_epoch();
  write_cr3(kTop);
  EXPECT_NE(kernel_epoch(), high);
}

TEST_F(PagingUnit, CodeEpochsOfUserAndSupervisorDiffer) {
  EXPECT_NE(mmu.code_epoch(false, 0), mmu.code_epoch(true, 0));
}

TEST_F(PagingUnit, CodeMayNotComeFromNoExecutePages) {
  map(kPage, 0x10000 | kSystem | u64{1} << 63);
  EXPECT_EQ(mmu.translate_code(GuestVirt(kPage), false).error_code, x86::kPfPresent | x86::kPfFetch);
}

// Frames with decoded instructions

TEST_F(PagingUnit, ProtectingAFrameTakesWritesAwayButNotReads) {
  map(kPage, 0x10000 | kAny);
  map(kPage + 0x1000, 0x10000 | kAny);
  fill(kPage, Access::kWrite);
  fill(kPage + 0x1000, Access::kWrite, kUser);
  mmu.protect_frame(GuestPhys(0x10000));
  EXPECT_FALSE(can_write(kPage));
  EXPECT_FALSE(can_write(kPage + 0x1000, kUser));
  EXPECT_TRUE(can_read(kPage));
}

TEST_F(PagingUnit, ProtectingAFrameLeavesOthersWritable) {
  map(kPage, 0x10000 | kSystem);
  map(kPage + 0x1000, 0x11000 | kSystem);
  fill(kPage, Access::kWrite);
  fill(kPage + 0x1000, Access::kWrite);
  mmu.protect_frame(GuestPhys(0x10000));
  EXPECT_TRUE(can_write(kPage + 0x1000));
}

TEST_F(PagingUnit, FillNeverAllowsWritesToACodeFrame) {
  map(kPage, 0x10000 | kSystem);
  memory->code_frames().mark(0x10, 0);
  EXPECT_TRUE(fill(kPage, Access::kWrite).is_writable);
  EXPECT_TRUE(can_read(kPage));
  EXPECT_FALSE(can_write(kPage));
}

TEST_F(PagingUnit, ProtectingAFrameOfAnotherContextWorksToo) {
  use_pcids();
  map(kPage, 0x10000 | kSystem);
  write_cr3(kTop | 1);
  fill(kPage, Access::kWrite);
  write_cr3(kOtherTop | 2);
  mmu.protect_frame(GuestPhys(0x10000));
  write_cr3(kTop | 1 | kKeep);
  EXPECT_TRUE(can_read(kPage));
  EXPECT_FALSE(can_write(kPage));
}

}  // namespace
}  // namespace doppel
