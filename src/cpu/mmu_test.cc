// The software TLB: what it holds, what makes it forget, and what page walks leave behind.
#include "cpu/mmu.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace doppel {
namespace {

// A CPU with nothing around it but open memory space. Owned by a test.
struct FakePlatform final : CpuPlatform {
  void read_mmio(GuestPhys, std::span<u8> data) override { std::ranges::fill(data, u8{0xff}); }
  void write_mmio(GuestPhys, std::span<const u8>) override {}
  u32 read_port(u16, unsigned) override { return 0; }
  void write_port(u16, unsigned, u32) override {}
  bool has_interrupt() override { return false; }
  std::optional<u8> acknowledge_interrupt() override { return std::nullopt; }
  u8 task_priority() override { return 0; }
  void set_task_priority(u8) override {}
  std::optional<u64> read_msr(u32) override { return std::nullopt; }
  bool write_msr(u32, u64) override { return false; }
  void tsc_offset_changed(u64) override {}
  u64 hypercall(u64, std::span<const u64, 4>) override { return 0; }
  u64 tsc() override { return 0; }
  u64 entropy() override { return 0; }
};

// Bits of a paging entry. SDM 3A table 4-20.
constexpr u64 kPresent = 0x1;
constexpr u64 kWritable = 0x2;
constexpr u64 kUserPage = 0x4;
constexpr u64 kAccessed = 0x20;
constexpr u64 kDirty = 0x40;
constexpr u64 kLarge = 0x80;
constexpr u64 kGlobal = 0x100;
constexpr u64 kSystem = kPresent | kWritable;  // a supervisor page
constexpr u64 kAny = kSystem | kUserPage;

// 4-level tables: one page table each for the addresses from 0, from kKernel, and for a second address space.
constexpr u64 kTop = 0x1000;
constexpr u64 kLowDirectory = 0x3000;
constexpr u64 kLowTable = 0x4000;
constexpr u64 kHighTable = 0x7000;
constexpr u64 kOtherTop = 0x8000;
constexpr u64 kKernel = 0xffffffffc0000000;
constexpr u64 kPage = 0x5000;  // the address the tests speak of
constexpr u64 kKeep = u64{1} << 63;

class PagingUnit : public testing::Test {
 protected:
  void SetUp() override {
    set(kTop, 0x2000 | kAny);
    set(0x2000, kLowDirectory | kAny);
    set(kLowDirectory, kLowTable | kAny);
    set(kTop + 511 * 8, 0x9000 | kAny);
    set(0x9000 + 511 * 8, 0xa000 | kAny);
    set(0xa000, kHighTable | kAny);
    set(kOtherTop, 0x2000 | kAny);
    state.cr0 = x86::kCr0Pg | x86::kCr0Pe | x86::kCr0Wp;
    state.cr3 = kTop;
    state.cr4 = x86::kCr4Pae;
    state.efer = x86::kEferLme | x86::kEferLma | x86::kEferNxe;
    mmu.flush_all();
  }
  void set(u64 address, u64 entry) { memory->write_value(GuestPhys(address), entry); }
  u64 entry_at(u64 address) const { return *memory->read_value<u64>(GuestPhys(address)); }
  // Maps the page at `va`, in the first 2 MiB of its half.
  void map(u64 va, u64 entry) {
    set((va < kKernel ? kLowTable : kHighTable) + ((va >> 12) & 511) * 8, entry);
  }
  void map_large(u64 va, u64 entry) { set(kLowDirectory + (va >> 21) * 8, entry | kLarge); }

  Translation fill(u64 va, Access access = Access::kRead, AccessMode mode = kSupervisor) {
    return mmu.fill(GuestVirt(va), access, mode);
  }
  bool can_read(u64 va, AccessMode mode = kSupervisor) { return mmu.table(mode).entry(va).read_tag == va; }
  bool can_write(u64 va, AccessMode mode = kSupervisor) { return mmu.table(mode).entry(va).write_tag == va; }
  u64 cached_frame(u64 va) { return mmu.table(kSupervisor).entry(va).frame; }
  void fetch(u64 va) { mmu.translate_code(GuestVirt(va), false); }
  u64 fetched_frame(u64 va) { return mmu.translate_code(GuestVirt(va), false).physical.value(); }
  u64 low_epoch() const { return mmu.code_epoch(false, 0); }
  u64 kernel_epoch() const { return mmu.code_epoch(false, 1); }
  void use_pcids() { state.cr4 |= x86::kCr4Pcide; }
  void write_cr3(u64 value) {
    state.cr3 = value & ~kKeep;
    mmu.switch_context(value);
  }

  std::unique_ptr<GuestMemory> memory = std::move(*GuestMemory::create(4 * kMiB));
  FakePlatform platform;
  CpuState state;
  Mmu mmu{state, *memory, platform};
};

// Filling

TEST_F(PagingUnit, HoldsATranslationOnceItIsFilled) {
  map(kPage, 0x10000 | kSystem);
  EXPECT_FALSE(can_read(kPage));
  const Translation translation = fill(kPage + 0x123);
  EXPECT_TRUE(translation.is_valid);
  EXPECT_EQ(translation.physical, GuestPhys(0x10123));
  EXPECT_TRUE(can_read(kPage));
  EXPECT_EQ(kPage + mmu.table(kSupervisor).entry(kPage).addend,
            reinterpret_cast<u64>(memory->host(GuestPhys(0x10000))));
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
  const u64 rival = kPage ^ 0x400000 ^ 0x1000;  // differs in both terms of the index
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

TEST_F(PagingUnit, FlushAllDropsGlobalPagesToo) {
  state.cr4 |= x86::kCr4Pge;
  map(kPage, 0x10000 | kSystem | kGlobal);
  fill(kPage);
  mmu.flush_all();
  EXPECT_FALSE(can_read(kPage));
}

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
  memory->mark_code_frame(GuestPhys(0x10000));
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
