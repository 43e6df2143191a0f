// When address spaces run directly, on a made-up clock.
#include "engine/direct/policy.h"

#include <gtest/gtest.h>

namespace doppel::direct {
namespace {

using std::chrono::microseconds;

class PolicyTest : public testing::Test {
 protected:
  // Translated code ran for so long.
  void stretch(microseconds length, u64 calls) {
    const Policy::Time start = now_;
    now_ += length;
    policy_.note_stretch({.start = start, .end = now_, .calls = calls, .is_return = true});
  }
  void rounds(unsigned count, microseconds length) {
    for (unsigned i = 0; i < count && policy_.is_active(); ++i) {
      now_ += length;
      policy_.note_round(length);
      policy_.note_event(now_);
      policy_.settle(now_, microseconds(5));
    }
  }

  Policy policy_{false};
  Policy::Time now_{std::chrono::hours(1)};
};

TEST_F(PolicyTest, CodeThatComputesIsTried) {
  stretch(microseconds(4000), 0);
  EXPECT_TRUE(policy_.is_active());
}

TEST_F(PolicyTest, CodeThatCallsTheSystemOftenIsNot) {
  for (int i = 0; i < 1000; ++i) stretch(microseconds(20), 1);
  for (int i = 0; i < 1000; ++i) stretch(microseconds(30), 0);  // faults
  EXPECT_FALSE(policy_.is_active());
}

TEST_F(PolicyTest, ManyEventsInARowEndItWithoutAPause) {
  stretch(microseconds(4000), 0);
  rounds(100, microseconds(25));
  EXPECT_FALSE(policy_.is_active());
  EXPECT_TRUE(policy_.is_watching(now_));
}

TEST_F(PolicyTest, LongRoundsKeepIt) {
  stretch(microseconds(4000), 0);
  rounds(10'000, microseconds(400));
  EXPECT_TRUE(policy_.is_active());
}

// Not in a row, but never worth it either.
TEST_F(PolicyTest, DebtEndsItForLongerAndLonger) {
  std::vector<Policy::Duration> pauses;
  for (int i = 0; i < 3; ++i) {
    stretch(microseconds(4000), 0);
    ASSERT_TRUE(policy_.is_active());
    for (int round = 0; round < 1000 && policy_.is_active(); ++round) {
      now_ += microseconds(150);
      policy_.note_round(microseconds(50));
      policy_.settle(now_, microseconds(10));
    }
    ASSERT_FALSE(policy_.is_active());
    EXPECT_FALSE(policy_.is_watching(now_));
    const Policy::Time start = now_;
    while (!policy_.is_watching(now_)) now_ += microseconds(500);
    pauses.push_back(now_ - start);
  }
  EXPECT_GE(pauses[1], 2 * pauses[0]);
  EXPECT_GE(pauses[2], 2 * pauses[1]);
}

TEST_F(PolicyTest, NewCodePagesPayForShortRounds) {
  stretch(microseconds(4000), 0);
  for (int i = 0; i < 1000; ++i) {
    policy_.note_code(1);
    rounds(1, microseconds(40));
  }
  EXPECT_TRUE(policy_.is_active());
}

TEST_F(PolicyTest, AlwaysMeansAlways) {
  policy_ = Policy(true);
  EXPECT_TRUE(policy_.is_active());
  rounds(10'000, microseconds(25));
  EXPECT_TRUE(policy_.is_active());
}

}  // namespace
}  // namespace doppel::direct
