// Local APIC timer arithmetic. SDM 3A 10.5.4.
#include "irq/lapic_timer.h"

#include <algorithm>

#include "irq/timer_state.h"

namespace doppel {
namespace {

// Periodic expiries closer together than this are merged (they would only set the same IRR bit again), so
// that a guest cannot make the machine do nothing but fire timers.
constexpr Nanoseconds kMinSpacing{10'000};

// Longest wait for a TSC deadline: about 18 years. Half of what a state file may hold (kMaxStateTime).
constexpr u64 kMaxWait = u64{1} << 59;

}  // namespace

LapicTimer::LapicTimer(TimerQueue& queue, ApicCpu& cpu, std::function<void()> on_expiry)
    : queue_(queue), cpu_(cpu), on_expiry_(std::move(on_expiry)), timer_(queue, [this] { expire(); }) {}

void LapicTimer::reset() {
  stop();
  mode_ = LapicTimerMode::kOneShot;
  initial_count_ = 0;
  divide_ = 0;
  start_ = Nanoseconds(0);
}

void LapicTimer::stop() {
  timer_.disarm();
  is_counting_ = false;
  tsc_deadline_ = 0;
}

void LapicTimer::set_mode(LapicTimerMode mode) {
  if (mode == mode_) return;
  // SDM 3A 10.5.4.1: changing to or from TSC-deadline mode disarms the timer.
  const bool was_counter = mode_ == LapicTimerMode::kOneShot || mode_ == LapicTimerMode::kPeriodic;
  const bool is_counter = mode == LapicTimerMode::kOneShot || mode == LapicTimerMode::kPeriodic;
  mode_ = mode;
  if (!was_counter || !is_counter) stop();
}

void LapicTimer::set_initial_count(u32 count) {
  // SDM 3A 10.5.4.1: in TSC-deadline mode writes to the initial count are ignored.
  if (mode_ == LapicTimerMode::kTscDeadline) return;
  initial_count_ = count;
  start_ = queue_.now();
  // SDM 3A 10.5.4: writing 0 stops the timer.
  is_counting_ = count != 0 && mode_ != LapicTimerMode::kReserved;
  arm_count();
}

Nanoseconds LapicTimer::elapsed() { return std::max(queue_.now() - start_, Nanoseconds(0)); }

u32 LapicTimer::current_count() {
  if (!is_counting_) return 0;
  const u64 ticks = static_cast<u64>(elapsed().count()) / divisor();
  if (mode_ == LapicTimerMode::kPeriodic) return initial_count_ - static_cast<u32>(ticks % initial_count_);
  return ticks < initial_count_ ? initial_count_ - static_cast<u32>(ticks) : 0;
}

// SDM 3A figure 10-10: 000b divides by 2, each step doubles, 111b divides by 1.
u32 LapicTimer::divisor() const {
  const u32 code = ((divide_ >> 1) & 4) | (divide_ & 3);
  return code == 7 ? 1 : 2u << code;
}

void LapicTimer::set_divide(u32 value) {
  const u32 remaining = current_count();
  divide_ = value & 0xb;
  if (!is_counting_) return;
  start_ = queue_.now() - Nanoseconds(i64{initial_count_ - remaining} * divisor());
  arm_count();
}

// Arms for the end of the current count-down.
void LapicTimer::arm_count() {
  if (!is_counting_) {
    timer_.disarm();
    return;
  }
  if (mode_ == LapicTimerMode::kOneShot) {
    timer_.arm(start_ + period());
    return;
  }
  i64 cycles = elapsed() / period() + 1;
  const Nanoseconds earliest = elapsed() + kMinSpacing;
  if (period() < kMinSpacing) cycles = std::max(cycles, (earliest + period() - Nanoseconds(1)) / period());
  timer_.arm(start_ + cycles * period());
}

void LapicTimer::set_tsc_deadline(u64 deadline) {
  if (mode_ != LapicTimerMode::kTscDeadline) return;
  tsc_deadline_ = deadline;
  arm_deadline();
}

void LapicTimer::tsc_changed() {
  if (tsc_deadline_ != 0) arm_deadline();
}

void LapicTimer::arm_deadline() {
  timer_.disarm();
  if (tsc_deadline_ == 0) return;
  const u64 tsc = cpu_.guest_tsc();
  if (tsc_deadline_ <= tsc) {
    expire();
    return;
  }
  const u64 hertz = queue_.inputs().tsc_hz();
  const u128 wait = (u128{tsc_deadline_ - tsc} * 1'000'000'000 + hertz - 1) / hertz;
  timer_.arm(queue_.now() + Nanoseconds(static_cast<i64>(std::min<u128>(wait, kMaxWait))));
}

void LapicTimer::expire() {
  if (mode_ == LapicTimerMode::kTscDeadline) {
    // The clock and the TSC are not read at the same instant: never fire before the TSC says so.
    if (tsc_deadline_ > cpu_.guest_tsc()) {
      arm_deadline();
      return;
    }
    tsc_deadline_ = 0;  // SDM 3A 10.5.4.1: the timer disarms itself
  } else if (mode_ == LapicTimerMode::kOneShot) {
    is_counting_ = false;
  } else {
    arm_count();
  }
  on_expiry_();
}

void LapicTimer::visit_state(StateVisitor& visitor) {
  visitor.begin("timer");
  visitor.field("mode", mode_);
  visitor.field("initial_count", initial_count_);
  visitor.field("divide", divide_);
  visitor.field("is_counting", is_counting_);
  visit_time(visitor, "start", start_);
  visitor.field("tsc_deadline", tsc_deadline_);
  visit_timer(visitor, "deadline", timer_);
  visitor.end();
  if (!visitor.is_loading()) return;
  if (mode_ > LapicTimerMode::kReserved || (divide_ & ~0xbu) != 0 || (is_counting_ && initial_count_ == 0)) {
    visitor.reject("impossible local APIC timer");
    reset();
  }
}

}  // namespace doppel
