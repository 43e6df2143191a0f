// QueueRetry: serving a queue again a moment later, so that no driver keeps the device lock for ever.
#pragma once

#include <bit>
#include <functional>
#include <utility>

#include "base/timer_queue.h"
#include "irq/timer_state.h"

namespace doppel {

// A driver may refill a queue as fast as the device empties it. A device that has served as many chains as
// the queue has entries calls later() and returns; `serve` is called for the queue when everybody else had
// the lock. For devices of up to 64 queues. Owned by the device; called with the device lock held.
class QueueRetry {
 public:
  QueueRetry(TimerQueue& timers, std::function<void(unsigned)> serve)
      : timers_(timers), serve_(std::move(serve)), timer_(timers, [this] { run(); }) {}

  void later(unsigned queue) {
    waiting_ |= u64{1} << queue;
    timer_.arm(timers_.now() + kPause);
  }
  void cancel() {
    waiting_ = 0;
    timer_.disarm();
  }
  void visit_state(StateVisitor& visitor) {
    visitor.field("waiting", waiting_);
    visit_timer(visitor, "timer", timer_);
  }

 private:
  static constexpr Nanoseconds kPause = std::chrono::microseconds(10);

  void run() {
    u64 waiting = std::exchange(waiting_, 0);
    for (; waiting != 0; waiting &= waiting - 1) serve_(static_cast<unsigned>(std::countr_zero(waiting)));
  }

  TimerQueue& timers_;
  std::function<void(unsigned)> serve_;
  Timer timer_;
  u64 waiting_ = 0;  // bit n: queue n
};

}  // namespace doppel
