// Numbers on the command line.
#include "cli/run_command.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

TEST(RunCommand, SizesTakeUnits) {
  EXPECT_EQ(parse_size("1048576").value(), kMiB);
  EXPECT_EQ(parse_size("4096K").value(), 4 * kMiB);
  EXPECT_EQ(parse_size("512m").value(), 512 * kMiB);
  EXPECT_EQ(parse_size("3G").value(), 3 * kGiB);
}

TEST(RunCommand, SizesThatAreNoneAreRefused) {
  EXPECT_FALSE(parse_size(""));
  EXPECT_FALSE(parse_size("M"));
  EXPECT_FALSE(parse_size("-1M"));
  EXPECT_FALSE(parse_size("1.5G"));
  EXPECT_FALSE(parse_size("512MB"));
  EXPECT_FALSE(parse_size(" 512M"));
  EXPECT_TRUE(parse_size("lots").error().is_usage);
}

TEST(RunCommand, SizesThatOverflowAreRefused) {
  EXPECT_EQ(parse_size("17179869183G").value(), 17179869183 * kGiB);
  EXPECT_FALSE(parse_size("17179869184G"));
  EXPECT_FALSE(parse_size("18446744073709551616"));
}

TEST(RunCommand, CountsAreWholeNumbers) {
  EXPECT_EQ(parse_count("--n", "0").value(), 0u);
  EXPECT_EQ(parse_count("--n", "18446744073709551615").value(), ~u64{0});
  EXPECT_FALSE(parse_count("--n", ""));
  EXPECT_FALSE(parse_count("--n", "-1"));
  EXPECT_FALSE(parse_count("--n", "12monkeys"));
  EXPECT_FALSE(parse_count("--n", "18446744073709551616"));
  EXPECT_TRUE(parse_count("--n", "x").error().is_usage);
}

}  // namespace
}  // namespace doppel
