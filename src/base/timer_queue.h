// TimerQueue: the machine's pending timer callbacks, ordered by machine time.
#pragma once

#include <functional>
#include <limits>
#include <vector>

#include "base/inputs.h"

namespace doppel {

class TimerQueue;

// When a timer fires.
enum class TimerKind : u8 {
  kExact,   // at its deadline
  kAtRest,  // as soon as a vCPU has nothing to do, at its deadline at the latest: for work that was put off
};

// One timer of a device: armed with an absolute deadline, fires once, may be re-armed from its callback.
// Owned by the device; must not outlive the queue.
class Timer {
 public:
  Timer(TimerQueue& queue, std::function<void()> callback, TimerKind kind = TimerKind::kExact);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  void arm(Nanoseconds deadline);
  void disarm();
  bool is_armed() const { return deadline_ != kNever; }
  // kNever when not armed.
  Nanoseconds deadline() const { return deadline_; }

  static constexpr Nanoseconds kNever = Nanoseconds::max();

 private:
  friend class TimerQueue;
  TimerQueue& queue_;
  std::function<void()> callback_;
  TimerKind kind_;
  Nanoseconds deadline_ = kNever;
  u64 order_ = 0;  // arming order, breaks ties between equal deadlines the same way in every run
};

// Holds the armed timers of one machine. Called with the machine's device lock held; not thread-safe by
// itself.
class TimerQueue {
 public:
  explicit TimerQueue(Inputs& inputs) : inputs_(inputs) {}

  Nanoseconds now() { return inputs_.now(); }
  Inputs& inputs() { return inputs_; }

  // Earliest deadline, or Timer::kNever.
  Nanoseconds next_deadline() const { return next_; }

  // Fires every timer whose deadline is at or before `now`, in deadline order.
  void run_expired(Nanoseconds now);
  // A vCPU is about to rest: fires the timers of that kind, but those armed meanwhile.
  void run_at_rest();

 private:
  friend class Timer;
  void refresh();

  Inputs& inputs_;
  std::vector<Timer*> timers_;  // all registered timers; a machine has about a dozen
  Nanoseconds next_ = Timer::kNever;
  u64 next_order_ = 0;
};

}  // namespace doppel
