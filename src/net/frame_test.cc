// Tests of gathering frames and of checksums.
#include "net/frame.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

TEST(Frame, SumsWordsWithCarriesAndAnOddByte) {
  // The example of RFC 1071 3: 0001 f203 f4f5 f6f7 sums to ddf2.
  const u8 example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(ones_complement_sum(example), 0xddf2);
  const u8 odd[] = {0x12, 0x34, 0x56, 0x78, 0x9a};
  EXPECT_EQ(ones_complement_sum(odd), 0x02ad);  // 1234 + 5678 + 9a00 = 102ac
  EXPECT_EQ(ones_complement_sum({}), 0);
}

TEST(Frame, CompletesAPartialChecksum) {
  // A UDP header of port 1 to 2, length 8, behind two bytes; the field holds a pseudo-header's sum of 0x0100.
  u8 frame[] = {0xee, 0xee, 0, 1, 0, 2, 0, 8, 0x01, 0x00};
  const NetHeader header{.flags = NetHeader::kNeedsChecksum, .checksum_start = 2, .checksum_offset = 6};
  ASSERT_TRUE(complete_checksum(header, frame));
  EXPECT_EQ(frame[8] << 8 | frame[9], 0xfef4);  // ~(1 + 2 + 8 + 0x100)
}

TEST(Frame, AZeroChecksumIsWrittenAsAllOnes) {
  u8 frame[] = {0xff, 0xff};
  ASSERT_TRUE(complete_checksum({.flags = NetHeader::kNeedsChecksum}, frame));
  EXPECT_EQ(frame[0] << 8 | frame[1], 0xffff);
}

TEST(Frame, LeavesFramesAloneThatNeedNoChecksum) {
  u8 frame[] = {1, 2, 3, 4};
  ASSERT_TRUE(complete_checksum({.checksum_start = 0, .checksum_offset = 0}, frame));
  EXPECT_EQ(frame[0], 1);
}

TEST(Frame, RefusesAFieldOutsideTheFrame) {
  u8 frame[8] = {};
  EXPECT_FALSE(complete_checksum({.flags = 1, .checksum_start = 0, .checksum_offset = 7}, frame));
  EXPECT_FALSE(complete_checksum({.flags = 1, .checksum_start = 0xffff, .checksum_offset = 0xffff}, frame));
  EXPECT_TRUE(complete_checksum({.flags = 1, .checksum_start = 0, .checksum_offset = 6}, frame));
}

TEST(Frame, GathersPiecesUpToTheLargestFrame) {
  std::vector<u8> big(kMaxFrameSize);
  u8 more = 7;
  std::vector<u8> frame;
  const iovec fits[] = {{&more, 1}, {big.data(), kMaxFrameSize - 1}};
  ASSERT_TRUE(gather_frame(fits, frame));
  EXPECT_EQ(frame.size(), kMaxFrameSize);
  EXPECT_EQ(frame[0], 7);
  const iovec too_long[] = {{&more, 1}, {big.data(), kMaxFrameSize}};
  EXPECT_FALSE(gather_frame(too_long, frame));
}

}  // namespace
}  // namespace doppel
