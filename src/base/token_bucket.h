// TokenBucket: a rate limit: a steady rate, with bursts up to a size.
#pragma once

#include <algorithm>

#include "base/inputs.h"

namespace doppel {

// What a TokenBucket allows. A rate of 0 means no limit.
struct RateLimit {
  u64 per_second = 0;  // tokens (bytes, operations) that arrive a second
  u64 burst = 0;       // tokens that are saved up at most; at least 1 when there is a rate
};

// Fills with time and is drawn from. One request larger than the burst is allowed when the bucket is full,
// and leaves a debt, so that every size gets through. Owned by a device; called with the device lock held.
// `now` is machine time and never goes back.
class TokenBucket {
 public:
  explicit TokenBucket(RateLimit limit = {}) : limit_(limit) { reset({}); }

  bool is_limited() const { return limit_.per_second != 0; }

  // A full bucket.
  void reset(Nanoseconds now) {
    nanotokens_ = capacity();
    filled_at_ = now;
  }

  // Takes `tokens` when they are there. Otherwise nothing is taken, and ready_time() tells when to try again.
  bool consume(u64 tokens, Nanoseconds now) {
    if (!is_limited()) return true;
    fill(now);
    if (nanotokens_ < needed(tokens)) return false;
    nanotokens_ -= i128{tokens} * kNano;
    return true;
  }

  // When consume(tokens) will succeed, at the latest; may be in the past.
  Nanoseconds ready_time(u64 tokens, Nanoseconds now) {
    if (!is_limited()) return now;
    fill(now);
    const i128 missing = std::max<i128>(needed(tokens) - nanotokens_, 0);
    const i128 wait = (missing + limit_.per_second - 1) / limit_.per_second;
    return now + Nanoseconds(static_cast<i64>(std::min<i128>(wait, kLongestWait)));
  }

  // `visitor` is a StateVisitor; this layer only knows that it takes named integers.
  template <class Visitor>
  void visit_state(Visitor& visitor) {
    i64 level = static_cast<i64>(nanotokens_ / kNano);
    i64 fraction = static_cast<i64>(nanotokens_ % kNano);
    i64 filled_at = filled_at_.count();
    visitor.field("level", level);
    visitor.field("fraction", fraction);
    visitor.field("filled_at", filled_at);
    nanotokens_ = std::min(i128{level} * kNano + fraction, capacity());
    filled_at_ = Nanoseconds(filled_at);
  }

 private:
  static constexpr i64 kNano = 1'000'000'000;
  static constexpr i64 kLongestWait = i64{1} << 58;  // 9 years: sums of times do not overflow

  i128 capacity() const { return i128{std::max<u64>(limit_.burst, 1)} * kNano; }
  i128 needed(u64 tokens) const { return std::min(i128{tokens} * kNano, capacity()); }
  void fill(Nanoseconds now) {
    if (now <= filled_at_) return;
    const i128 passed = i128{now.count()} - filled_at_.count();
    nanotokens_ = std::min(nanotokens_ + passed * limit_.per_second, capacity());
    filled_at_ = now;
  }

  RateLimit limit_;
  i128 nanotokens_ = 0;  // negative: a debt
  Nanoseconds filled_at_{0};
};

}  // namespace doppel
