// Tests of the software TLB's tables.
#include "cpu/tlb.h"

#include <gtest/gtest.h>

#include <memory>

namespace doppel {
namespace {

constexpr u64 kPage = 0x7f0000005000;
constexpr u64 kHost = 0x100000;
constexpr u64 kAddend = kHost - kPage;
constexpr u64 kRival = kPage + kTlbEntries * kPageSize;  // the same entry

struct Tlb : testing::Test {
  std::unique_ptr<TlbTable> table = std::make_unique<TlbTable>();
  u64 found(u64 va, unsigned size) const { return reinterpret_cast<u64>(table->read.find(va, size)); }
  bool is_writable(u64 va) const { return table->write.find(va, 1) != nullptr; }
};

TEST_F(Tlb, FindsWhatWasEntered) {
  table->enter(kPage, kAddend, true, false);
  EXPECT_EQ(found(kPage + 0x123, 8), kHost + 0x123);
  EXPECT_TRUE(is_writable(kPage));
  EXPECT_EQ(found(kRival, 1), 0u);
}

TEST_F(Tlb, AnAccessAcrossTheEndOfThePageMisses) {
  table->enter(kPage, kAddend, true, false);
  table->enter(kPage + kPageSize, kAddend, true, false);
  EXPECT_EQ(found(kPage + 4088, 8), kHost + 4088);
  EXPECT_EQ(found(kPage + 4089, 8), 0u);
  EXPECT_EQ(found(kPage + 4095, 1), kHost + 4095);
}

TEST_F(Tlb, AnEmptyEntryMatchesNoAddressThatSelectsIt) {
  for (unsigned index = 0; index < kTlbEntries; ++index) {
    const u64 matching = ~TlbSide::empty_tag(index) + 1;
    ASSERT_NE(tlb_index(matching), index);
  }
}

TEST_F(Tlb, ReadsAndWritesOfRivalsDoNotDisplaceEachOther) {
  table->enter(kPage, kAddend, true, false);
  table->enter(kRival, kAddend, false, false);
  EXPECT_TRUE(is_writable(kPage));
  EXPECT_EQ(found(kPage, 1), 0u);
  EXPECT_NE(found(kRival, 1), 0u);
}

TEST_F(Tlb, APageEnteredAgainWithoutWriteAccessLosesIt) {
  table->enter(kPage, kAddend, true, false);
  table->enter(kPage, kAddend, false, false);
  EXPECT_FALSE(is_writable(kPage));
}

TEST_F(Tlb, ClearDropsEverythingAlsoWhenMoreWasEnteredThanFits) {
  for (u64 round = 0; round < 3; ++round) {
    for (u64 i = 0; i < kTlbEntries; ++i) {
      table->enter(kPage + i * kPageSize, kAddend, true, false);
      table->drop_page(kPage + i * kPageSize);
    }
  }
  table->enter(kPage, kAddend, true, false);
  table->clear();
  EXPECT_EQ(found(kPage, 1), 0u);
  EXPECT_FALSE(is_writable(kPage));
}

TEST_F(Tlb, DroppingAPageOfALargeOneDropsTheWhole) {
  table->enter(kPage, kAddend, false, true);
  table->drop_page(kPage + 0x3000);
  EXPECT_EQ(found(kPage, 1), 0u);
}

TEST_F(Tlb, WritesToAFrameEndWhereverItIsMapped) {
  table->enter(kPage, kAddend, true, false);
  table->enter(kPage + 0x1000, kAddend - 0x1000, true, false);
  table->enter(kPage + 0x2000, kAddend, true, false);
  table->drop_writes_to(kHost);
  EXPECT_FALSE(is_writable(kPage));
  EXPECT_FALSE(is_writable(kPage + 0x1000));
  EXPECT_TRUE(is_writable(kPage + 0x2000));
  EXPECT_NE(found(kPage, 1), 0u);
}

}  // namespace
}  // namespace doppel
