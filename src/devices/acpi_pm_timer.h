// AcpiPmTimer: the ACPI power management timer, 3.579545 MHz and 32 bits.
#pragma once

#include <functional>

#include "base/timer_queue.h"
#include "state/state_visitor.h"

namespace doppel {

// Counts machine time (ACPI 6.5 4.8.2.1). Its status bit is set whenever the top bit of the count changes. A
// member of AcpiPm.
class AcpiPmTimer {
 public:
  static constexpr u64 kHz = 3'579'545;

  // `on_carry` is called when the status becomes set while watched.
  AcpiPmTimer(TimerQueue& timers, std::function<void()> on_carry);

  void reset();
  // After loading, the owner calls watch().
  void visit_state(StateVisitor& visitor);

  u32 count() { return static_cast<u32>(ticks()); }
  // Whether the top bit has changed since the status was last cleared.
  bool has_carried() { return ticks() / kHalfPeriod != seen_half_; }
  void clear_carry();
  // Asks for on_carry, or for silence.
  void watch(bool is_watched);

 private:
  static constexpr u64 kHalfPeriod = u64{1} << 31;

  u64 ticks();
  void schedule();

  TimerQueue& timers_;
  Timer carry_timer_;
  bool is_watched_ = false;
  u64 seen_half_ = 0;  // half periods since machine time 0 at the last clear
};

}  // namespace doppel
