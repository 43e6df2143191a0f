// Policy: when an address space runs directly, and when no more.
#pragma once

#include <algorithm>
#include <chrono>

#include "base/types.h"

namespace doppel::direct {

// An address space is tried when its code, translating it included, ran for long without calling the system
// or faulting. It is left when what its stops cost exceeds what it gained over translated code; each failure
// doubles the time until the next try.
class Policy {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  using Duration = Clock::duration;

  // `is_always`: for tests.
  explicit Policy(bool is_always) : is_always_(is_always) {}
  bool is_active() const { return is_active_ || is_always_; }
  // Is note_stretch() wanted?
  bool is_watching(Time now) const { return !is_active() && now >= resting_until_; }
  // What translated user code did at a stretch.
  struct Stretch {
    Time start;
    Time end;
    u64 calls = 0;           // of the system
    bool is_return = false;  // privileged code ran before
  };
  void note_stretch(const Stretch& stretch);
  // Direct execution reached pages of code that it had not seen.
  void note_code(u64 pages);
  // Something stopped it that only the guest's kernel can do. When that happens often (fresh memory, small
  // system calls), it is translated until it computes again.
  void note_event(Time now);
  // The stub was resumed, and had stopped after `away`.
  void note_round(Duration away);
  // After some rounds: what the monitor did between them took `work`.
  void settle(Time now, Duration work);
  void stop(Time now);
  // Another program lives here now.
  void restart() { *this = Policy(is_always_); }

 private:
  static constexpr Duration kEnough = std::chrono::microseconds(2000);
  static constexpr Duration kStretch = std::chrono::microseconds(100);  // between two events, on average
  static constexpr u64 kManyEvents = 20;
  static constexpr unsigned kManyInARow = 16;  // events, each less than kStretch after the last
  static constexpr Duration kCodePage =
      std::chrono::microseconds(80);    // what translating its blocks takes, or some
  static constexpr double kGain = 1.5;  // translated time beyond the direct, in direct times
  // That a round may have spent on everything but the guest's code: signals, switches of process, mapping
  // pages, touching them. Only what is longer counts as a gain.
  static constexpr Duration kRoundCost = std::chrono::microseconds(50);
  static constexpr Duration kCredit = std::chrono::milliseconds(10);
  static constexpr Duration kDebt = std::chrono::milliseconds(4);
  static constexpr Duration kFirstPause = std::chrono::milliseconds(10);
  static constexpr Duration kLongestPause = std::chrono::seconds(2);

  bool is_always_;
  bool is_active_ = false;
  Duration time_ = {};  // since the last decision, of user code alone,
  u64 events_ = 0;      // and what stopped it
  Time last_event_ = {};
  unsigned in_a_row_ = 0;
  Time resting_until_ = {};
  Duration pause_ = kFirstPause;
  Duration balance_ = {};
};

}  // namespace doppel::direct
