// InstructionInputs: time that advances with the guest's instructions, for runs that repeat exactly.
#pragma once

#include <algorithm>
#include <functional>

#include "base/inputs.h"

namespace doppel {

// One retired instruction is one nanosecond of machine time; while the guest is halted, time is moved forward
// by skip_to(). Entropy is a fixed sequence. Used with the device lock held or on the vCPU's thread.
class InstructionInputs final : public Inputs {
 public:
  // `instructions` tells how many the machine has retired so far.
  void set_counter(std::function<u64()> instructions) { instructions_ = std::move(instructions); }

  Nanoseconds now() override {
    return Nanoseconds(static_cast<i64>((instructions_ ? instructions_() : 0) + skipped_));
  }
  u64 boot_wall_clock_seconds() override { return kWallClock; }
  u64 tsc() override { return static_cast<u64>(now().count()); }
  u64 tsc_hz() const override { return 1'000'000'000; }
  void entropy(std::span<u8> out) override;

  // `visitor` is a StateVisitor; this layer only knows that it takes named integers.
  template <class Visitor>
  void visit_state(Visitor& visitor) {
    visitor.field("skipped", skipped_);
    visitor.field("entropy_state", entropy_state_);
  }

  // The guest sleeps until `time`, at most until kLatest.
  void skip_to(Nanoseconds time) {
    time = std::min(time, kLatest);
    if (time > now()) skipped_ += static_cast<u64>((time - now()).count());
  }

  // 18 years: a guest that sleeps from timer to timer does not get further, so that times can be added.
  static constexpr Nanoseconds kLatest{i64{1} << 59};

 private:
  static constexpr u64 kWallClock = 1'700'000'000;  // 2023-11-14 22:13:20 UTC

  std::function<u64()> instructions_;
  u64 skipped_ = 0;
  u64 entropy_state_ = 0;
};

}  // namespace doppel
