// Rate limits: bursts, refilling, requests larger than the burst.
#include "base/token_bucket.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

using namespace std::chrono_literals;

TEST(TokenBucket, WithoutRateAllowsEverything) {
  TokenBucket bucket;
  EXPECT_TRUE(bucket.consume(~u64{0}, 0s));
  EXPECT_EQ(bucket.ready_time(~u64{0}, 5s), 5s);
}

TEST(TokenBucket, AllowsABurstThenTheRate) {
  TokenBucket bucket({.per_second = 1000, .burst = 10});
  EXPECT_TRUE(bucket.consume(10, 0s));
  EXPECT_FALSE(bucket.consume(1, 0s));
  EXPECT_EQ(bucket.ready_time(1, 0s), 1ms);
  EXPECT_FALSE(bucket.consume(1, 999us));
  EXPECT_TRUE(bucket.consume(1, 1ms));
}

TEST(TokenBucket, SavesUpNoMoreThanTheBurst) {
  TokenBucket bucket({.per_second = 1000, .burst = 10});
  EXPECT_TRUE(bucket.consume(10, 100s));
  EXPECT_FALSE(bucket.consume(1, 100s));
}

TEST(TokenBucket, RequestAboveTheBurstLeavesADebt) {
  TokenBucket bucket({.per_second = 1000, .burst = 10});
  EXPECT_TRUE(bucket.consume(1000, 0s));
  EXPECT_EQ(bucket.ready_time(1, 0s), 991ms);
  EXPECT_FALSE(bucket.consume(1, 990ms));
  EXPECT_TRUE(bucket.consume(1, 991ms));
}

TEST(TokenBucket, HugeRatesDoNotOverflow) {
  TokenBucket bucket({.per_second = ~u64{0}, .burst = ~u64{0}});
  EXPECT_TRUE(bucket.consume(~u64{0}, 0s));
  EXPECT_TRUE(bucket.consume(~u64{0}, Nanoseconds(i64{1} << 59)));
}

}  // namespace
}  // namespace doppel
