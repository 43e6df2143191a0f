// Converts machine time to PM timer ticks and finds the next carry.
#include "devices/acpi_pm_timer.h"

namespace doppel {

namespace {

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;

// The first nanosecond at which the count has reached `ticks`.
Nanoseconds time_of(u64 ticks) {
  const u128 product = u128{ticks} * kNanosecondsPerSecond;
  return Nanoseconds(static_cast<i64>((product + AcpiPmTimer::kHz - 1) / AcpiPmTimer::kHz));
}

}  // namespace

AcpiPmTimer::AcpiPmTimer(TimerQueue& timers, std::function<void()> on_carry)
    : timers_(timers), carry_timer_(timers, std::move(on_carry)) {}

void AcpiPmTimer::reset() {
  is_watched_ = false;
  clear_carry();
}

u64 AcpiPmTimer::ticks() {
  const auto now = static_cast<u64>(timers_.now().count());
  return static_cast<u64>(u128{now} * kHz / kNanosecondsPerSecond);
}

void AcpiPmTimer::clear_carry() {
  seen_half_ = ticks() / kHalfPeriod;
  schedule();
}

void AcpiPmTimer::watch(bool is_watched) {
  is_watched_ = is_watched;
  schedule();
}

void AcpiPmTimer::schedule() {
  if (!is_watched_ || has_carried()) return carry_timer_.disarm();
  carry_timer_.arm(time_of((seen_half_ + 1) * kHalfPeriod));
}

void AcpiPmTimer::visit_state(StateVisitor& visitor) { visitor.field("seen_half", seen_half_); }

}  // namespace doppel
