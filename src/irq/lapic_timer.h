// LapicTimer: the count-down and TSC-deadline timer of a local APIC.
#pragma once

#include <functional>

#include "base/timer_queue.h"
#include "irq/interrupt_message.h"
#include "state/state_visitor.h"

namespace doppel {

// LVT timer bits 18:17. SDM 3A 10.5.4.
enum class LapicTimerMode : u8 { kOneShot, kPeriodic, kTscDeadline, kReserved };

// The timer of one local APIC, which owns it and decides what an expiry does. The input clock is 1 GHz of
// machine time: one nanosecond a tick before the divider. Nothing counts: register values follow from the
// start time, so a periodic timer does not drift. Called with the device lock held.
class LapicTimer {
 public:
  LapicTimer(TimerQueue& queue, ApicCpu& cpu, std::function<void()> on_expiry);

  // Stopped, one-shot, divide by 2.
  void reset();

  LapicTimerMode mode() const { return mode_; }
  void set_mode(LapicTimerMode mode);

  u32 initial_count() const { return initial_count_; }
  void set_initial_count(u32 count);
  u32 current_count();

  // The divide configuration register: bits 3, 1 and 0.
  u32 divide() const { return divide_; }
  void set_divide(u32 value);

  // IA32_TSC_DEADLINE: 0 when not armed; writes outside TSC-deadline mode are ignored.
  u64 tsc_deadline() const { return tsc_deadline_; }
  void set_tsc_deadline(u64 deadline);
  // The guest moved its TSC.
  void tsc_changed();

  void visit_state(StateVisitor& visitor);

 private:
  u32 divisor() const;
  Nanoseconds period() const { return Nanoseconds(i64{initial_count_} * divisor()); }
  Nanoseconds elapsed();
  void arm_count();
  void arm_deadline();
  void expire();
  void stop();

  TimerQueue& queue_;
  ApicCpu& cpu_;
  std::function<void()> on_expiry_;
  Timer timer_;
  LapicTimerMode mode_ = LapicTimerMode::kOneShot;
  u32 initial_count_ = 0;
  u32 divide_ = 0;
  bool is_counting_ = false;  // between a write of the initial count and the end of a one-shot
  Nanoseconds start_{0};      // when the count was, or would have been, the initial count
  u64 tsc_deadline_ = 0;
};

}  // namespace doppel
