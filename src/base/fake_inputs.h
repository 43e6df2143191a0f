// FakeInputs: Inputs for tests, whose time stands still until the test moves it.
#pragma once

#include <algorithm>
#include <span>

#include "base/inputs.h"
#include "base/timer_queue.h"

namespace doppel {

// Owned by a test. The TSC runs at tsc_hz() from the same clock; entropy is a counter, the same in every run.
class FakeInputs final : public Inputs {
 public:
  Nanoseconds now() override { return now_; }
  u64 boot_wall_clock_seconds() override { return wall_clock_seconds_; }
  u64 tsc() override { return static_cast<u64>(u128(now_.count()) * tsc_hz_ / 1'000'000'000); }
  u64 tsc_hz() const override { return tsc_hz_; }
  void entropy(std::span<u8> out) override {
    std::ranges::generate(out, [this] { return next_byte_++; });
  }

  void set_now(Nanoseconds now) { now_ = now; }
  void set_wall_clock(u64 seconds) { wall_clock_seconds_ = seconds; }
  void set_tsc_hz(u64 hertz) { tsc_hz_ = hertz; }

  // Moves time forward to `end`, stopping at each deadline of `queue` on the way.
  void run_until(TimerQueue& queue, Nanoseconds end) {
    while (queue.next_deadline() <= end) {
      now_ = std::max(now_, queue.next_deadline());
      queue.run_expired(now_);
    }
    now_ = end;
  }
  void advance(TimerQueue& queue, Nanoseconds duration) { run_until(queue, now_ + duration); }

 private:
  Nanoseconds now_{0};
  u64 wall_clock_seconds_ = 0;
  u64 tsc_hz_ = 2'000'000'000;
  u8 next_byte_ = 0;
};

}  // namespace doppel
