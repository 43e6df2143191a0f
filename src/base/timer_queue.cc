// Timer arming and expiry over a small unsorted list.
#include "base/timer_queue.h"

#include <algorithm>

namespace doppel {

Timer::Timer(TimerQueue& queue, std::function<void()> callback, TimerKind kind)
    : queue_(queue), callback_(std::move(callback)), kind_(kind) {
  queue_.timers_.push_back(this);
}

Timer::~Timer() {
  std::erase(queue_.timers_, this);
  queue_.refresh();
}

void Timer::arm(Nanoseconds deadline) {
  deadline_ = deadline;
  order_ = queue_.next_order_++;
  queue_.refresh();
}

void Timer::disarm() {
  if (deadline_ == kNever) return;
  deadline_ = kNever;
  queue_.refresh();
}

void TimerQueue::refresh() {
  next_ = Timer::kNever;
  for (const Timer* timer : timers_) next_ = std::min(next_, timer->deadline_);
}

void TimerQueue::run_expired(Nanoseconds now) {
  while (next_ <= now) {
    auto earlier = [](const Timer* a, const Timer* b) {
      return a->deadline_ != b->deadline_ ? a->deadline_ < b->deadline_ : a->order_ < b->order_;
    };
    Timer* timer = *std::ranges::min_element(timers_, earlier);
    timer->deadline_ = Timer::kNever;
    refresh();
    timer->callback_();
  }
}

void TimerQueue::run_at_rest() {
  const u64 end = next_order_;
  // By position: callbacks may make timers.
  for (std::size_t i = 0; i < timers_.size(); ++i) {
    Timer& timer = *timers_[i];
    if (timer.kind_ != TimerKind::kAtRest || !timer.is_armed() || timer.order_ >= end) continue;
    timer.disarm();
    timer.callback_();
  }
}

}  // namespace doppel
