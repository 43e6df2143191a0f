// Tests how the time that a halted vCPU polls follows its halts.
#include "machine/halt_polling.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

constexpr Nanoseconds kShort{100'000};
constexpr Nanoseconds kLong = HaltPolling::kMost + Nanoseconds{1};

TEST(HaltPolling, BeginsWithShortHaltsAndGrowsUntilItCoversThem) {
  HaltPolling polling;
  EXPECT_EQ(polling.window(), Nanoseconds{0});
  polling.note_halt(kShort);
  EXPECT_EQ(polling.window(), HaltPolling::kFirst);
  for (int i = 0; i < 10; ++i) polling.note_halt(kShort);
  EXPECT_GE(polling.window(), kShort);
  EXPECT_LT(polling.window(), kShort * 2);
}

TEST(HaltPolling, NeverLooksLongerThanItsLimit) {
  HaltPolling polling;
  for (int i = 0; i < 10; ++i) polling.note_halt(HaltPolling::kMost);
  EXPECT_EQ(polling.window(), HaltPolling::kMost);
}

TEST(HaltPolling, EndsWithALongHalt) {
  HaltPolling polling;
  for (int i = 0; i < 10; ++i) polling.note_halt(kShort);
  polling.note_halt(kLong);
  EXPECT_EQ(polling.window(), Nanoseconds{0});
}

}  // namespace
}  // namespace doppel
