// How machine times and armed timers enter a component's state.
#pragma once

#include "base/timer_queue.h"
#include "state/state_visitor.h"

namespace doppel {

// Bound on machine times in a state file (36 years), so that arithmetic on loaded times cannot overflow.
inline constexpr i64 kMaxStateTime = i64{1} << 60;

// A time before or after the start of the machine.
inline void visit_time(StateVisitor& visitor, std::string_view name, Nanoseconds& time) {
  i64 count = time.count();
  visitor.field(name, count);
  if (count < -kMaxStateTime || count > kMaxStateTime) {
    visitor.reject("machine time out of range");
    return;
  }
  time = Nanoseconds(count);
}

// Saves the deadline; loading arms or disarms the timer.
inline void visit_timer(StateVisitor& visitor, std::string_view name, Timer& timer) {
  i64 count = timer.deadline().count();
  visitor.field(name, count);
  if (!visitor.is_loading()) return;
  timer.disarm();
  if (count == Timer::kNever.count()) return;
  if (count < 0 || count > kMaxStateTime) {
    visitor.reject("timer deadline out of range");
    return;
  }
  timer.arm(Nanoseconds(count));
}

}  // namespace doppel
