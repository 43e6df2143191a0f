// Tests of the set of pages with code.
#include "cpu/code_pages.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

TEST(CodePages, ContainsThePagesThatWereInserted) {
  CodePages pages;
  pages.insert(GuestVirt(0x5123), 4096);
  EXPECT_TRUE(pages.contains(GuestVirt(0x5fff)));
  EXPECT_FALSE(pages.contains(GuestVirt(0x6000)));
  EXPECT_FALSE(pages.contains(GuestVirt(0x4fff)));
}

TEST(CodePages, ALargePageIsContainedWhole) {
  CodePages pages;
  pages.insert(GuestVirt(0x7f0000212345), 2 * kMiB);
  pages.insert(GuestVirt(0xffff'8880'4000'0000), kGiB);
  EXPECT_TRUE(pages.contains(GuestVirt(0x7f0000200000)));
  EXPECT_TRUE(pages.contains(GuestVirt(0x7f00003ff000)));
  EXPECT_FALSE(pages.contains(GuestVirt(0x7f0000400000)));
  EXPECT_TRUE(pages.contains(GuestVirt(0xffff'8880'7fff'f000)));
  EXPECT_FALSE(pages.contains(GuestVirt(0xffff'8880'8000'0000)));
}

TEST(CodePages, HoldsMoreThanItBeganWith) {
  CodePages pages;
  for (u64 i = 0; i < 1000; ++i) pages.insert(GuestVirt(i << 13), 4096);
  for (u64 i = 0; i < 1000; ++i) {
    ASSERT_TRUE(pages.contains(GuestVirt(i << 13)));
    ASSERT_FALSE(pages.contains(GuestVirt((i << 13) + 4096)));
  }
}

TEST(CodePages, ANewEpochIsEmpty) {
  CodePages pages;
  pages.insert(GuestVirt(0x5000), 4096);
  pages.insert(GuestVirt(0x200000), 2 * kMiB);
  pages.restart(7);
  EXPECT_EQ(pages.epoch(), 7u);
  EXPECT_FALSE(pages.contains(GuestVirt(0x5000)));
  EXPECT_FALSE(pages.contains(GuestVirt(0x200000)));
}

}  // namespace
}  // namespace doppel
