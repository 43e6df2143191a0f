// Saves and restores an armed timer as its deadline in machine time.
#pragma once

#include "base/timer_queue.h"
#include "state/state_visitor.h"

namespace doppel {

inline void visit_timer(StateVisitor& visitor, std::string_view name, Timer& timer) {
  i64 deadline = timer.deadline().count();
  visitor.field(name, deadline);
  if (!visitor.is_loading()) return;
  if (deadline == Timer::kNever.count()) {
    timer.disarm();
  } else {
    timer.arm(Nanoseconds(deadline));
  }
}

}  // namespace doppel
