// TimerAlarm: wakes the event loop when a machine's timer is due and no vCPU looks at the timers.
#pragma once

#include <functional>

#include "base/event_loop.h"
#include "base/timer_queue.h"

namespace doppel {

// A timerfd on the event loop. vCPUs that run in slices look at the timers themselves; once all of them
// sleep, or run in an engine without slices, set() keeps the alarm at the earliest deadline. Owned by the
// machine; called with the device lock held.
class TimerAlarm final : private Poller {
 public:
  // `before_wait` is called each time the loop is about to wait, `on_expiry` when the deadline has passed.
  static Result<std::unique_ptr<TimerAlarm>> create(EventLoop& loop, std::function<void()> before_wait,
                                                    std::function<void()> on_expiry);
  ~TimerAlarm() override;
  TimerAlarm(const TimerAlarm&) = delete;
  TimerAlarm& operator=(const TimerAlarm&) = delete;

  // `deadline` may be Timer::kNever.
  void set(Nanoseconds deadline, Nanoseconds now);

 private:
  TimerAlarm(EventLoop& loop, UniqueFd timer, std::function<void()> before_wait,
             std::function<void()> on_expiry);
  int prepare(std::vector<pollfd>& waits) override;
  void dispatch(std::span<const pollfd> waits) override;

  EventLoop& loop_;
  UniqueFd timer_;
  std::function<void()> before_wait_;
  std::function<void()> on_expiry_;
  Nanoseconds deadline_ = Timer::kNever;  // what the timerfd is set to
};

}  // namespace doppel
