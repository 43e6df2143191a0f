// Tests that boot memory is handed out once and only from RAM.
#include "boot/boot_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boot/test_image.h"

namespace doppel {
namespace {

struct BootMemoryTest : testing::Test {
  test::TestGuest guest{4 * kMiB};
  BootMemory memory{*guest.memory, guest.tables.e820};
};

TEST_F(BootMemoryTest, ClaimsEachByteOnce) {
  EXPECT_TRUE(memory.claim(GuestPhys(0x100000), 0x2000));
  EXPECT_FALSE(memory.claim(GuestPhys(0x101fff), 1));
  EXPECT_TRUE(memory.claim(GuestPhys(0x102000), 1));
}

TEST_F(BootMemoryTest, RefusesWhatIsNotFreeRam) {
  EXPECT_FALSE(memory.claim(GuestPhys(0), 1));
  EXPECT_FALSE(memory.claim(GuestPhys(kEbdaStart), 1));
  EXPECT_FALSE(memory.claim(GuestPhys(kEbdaStart - 1), 2));
  EXPECT_FALSE(memory.claim(acpi_area_start(*guest.memory), 1));
  EXPECT_FALSE(memory.claim(GuestPhys(4 * kMiB), 1));
}

TEST_F(BootMemoryTest, RefusesRangesThatWrapAround) {
  EXPECT_FALSE(memory.claim(GuestPhys(0x100000), ~u64{0}));
  EXPECT_FALSE(memory.claim(GuestPhys(~u64{0}), 2));
  EXPECT_FALSE(memory.load("x", GuestPhys(~u64{0} - 10), {}, 20));
  EXPECT_FALSE(memory.claim_highest(~u64{0}, 4096, ~u64{0}));
  EXPECT_FALSE(memory.claim_lowest(~u64{0}, 4096, 0));
  EXPECT_FALSE(memory.claim_lowest(1, 4096, ~u64{0}));
}

TEST_F(BootMemoryTest, ClaimsHighestBelowTheLimit) {
  EXPECT_EQ(memory.claim_highest(0x1800, 0x1000, 0x300000), GuestPhys(0x2fe000));
  EXPECT_EQ(memory.claim_highest(0x1000, 0x1000, 0x300000), GuestPhys(0x2fd000));
}

TEST_F(BootMemoryTest, ClaimsLowestAboveTheLimit) {
  EXPECT_EQ(memory.claim_lowest(0x800, 0x1000, kMiB), GuestPhys(0x100000));
  EXPECT_EQ(memory.claim_lowest(0x1000, 0x1000, kMiB), GuestPhys(0x101000));
}

TEST_F(BootMemoryTest, BorrowedRamIsClearAndFreeAgainAfterUse) {
  ASSERT_TRUE(memory.claim(GuestPhys(0x200000), 0x1000));
  u64 start = 0;
  {
    const auto borrowed = memory.borrow(0x1234, 0x100000);
    ASSERT_TRUE(borrowed);
    EXPECT_EQ(borrowed->bytes().size(), 0x1234u);
    start = static_cast<u64>(borrowed->bytes().data() - guest.memory->host(GuestPhys(0)));
    EXPECT_FALSE(memory.claim(GuestPhys(start), 0x2000));
    std::ranges::fill(borrowed->bytes(), u8{7});
  }
  EXPECT_EQ(guest.value<u64>(start), 0u);
  // One free range again: it can be claimed across the place.
  EXPECT_TRUE(memory.claim(GuestPhys(start - 0x1000), 0x3000));
}

TEST_F(BootMemoryTest, BorrowsNothingBelowTheFloor) {
  EXPECT_FALSE(memory.borrow(2 * kMiB, 3 * kMiB));
  EXPECT_FALSE(memory.borrow(~u64{0}, 0));
  EXPECT_TRUE(memory.borrow(kMiB / 2, 3 * kMiB));
}

TEST_F(BootMemoryTest, StoresStructuresBelow640KiB) {
  const std::vector<u8> data(100, 7);
  EXPECT_EQ(memory.store("x", data, 0x1000), GuestPhys(kEbdaStart - 0xc00));
}

TEST_F(BootMemoryTest, LoadClearsWhatTheFileDoesNotCover) {
  const std::vector<u8> data = {1, 2};
  guest.memory->write_value(GuestPhys(0x100000), ~u64{0});

  ASSERT_TRUE(memory.load("x", GuestPhys(0x100000), data, 4));

  EXPECT_EQ(guest.value<u64>(0x100000), 0xffffffff00000201u);
}

TEST_F(BootMemoryTest, ErrorTellsMissingMemoryFromOverlap) {
  const auto beyond = memory.load("kernel 'x'", GuestPhys(16 * kMiB), {}, 4096);
  const auto overlap = memory.load("kernel 'x'", GuestPhys(kEbdaStart), {}, 4096);
  EXPECT_THAT(beyond.error().message, testing::HasSubstr("outside the guest's 4 MiB"));
  EXPECT_THAT(overlap.error().message, testing::HasSubstr("overlaps a reserved area"));
}

}  // namespace
}  // namespace doppel
