// Passing input points, and being idle until the next one.
#include "base/input_points.h"

#include <algorithm>

#include "base/log.h"

namespace doppel {

Result<EventLoop*> InputPoints::host_loop() {
  if (!host_loop_) host_loop_ = TRY(EventLoop::create(device_lock_));
  return host_loop_.get();
}

void InputPoints::diverged(std::string_view what) {
  LOG_ERROR("{}", what);
  if (on_diverged_) on_diverged_();
}

void InputPoints::start() {
  if (host_loop_) host_loop_->start();
}

void InputPoints::stop() {
  if (host_loop_) host_loop_->stop();
}

void InputPoints::pass(Nanoseconds now) {
  if (now < next_) return;
  next_ = now - now % kInterval + kInterval;
  for (InputSource* source : sources_) source->let_in(now);
}

Nanoseconds InputPoints::idle_until(std::unique_lock<std::mutex>& lock, Nanoseconds now, Nanoseconds deadline,
                                    const std::function<bool()>& is_interrupted) {
  Nanoseconds target = deadline;
  for (const InputSource* source : sources_) {
    // Not later than now only in recordings that were made up.
    if (!source->is_live()) target = std::min(target, std::max(source->next_input(), now + Nanoseconds(1)));
  }
  const bool is_live = std::ranges::any_of(sources_, &InputSource::is_live);
  if (is_live && target > now) target = wait_for_live(lock, now, target, is_interrupted);
  if (target > now) next_ = target;
  return target;
}

Nanoseconds InputPoints::wait_for_live(std::unique_lock<std::mutex>& lock, Nanoseconds now,
                                       Nanoseconds deadline, const std::function<bool()>& is_interrupted) {
  constexpr Nanoseconds kLongest = std::chrono::hours(24);
  const auto is_over = [&] {
    return std::ranges::any_of(sources_,
                               [](const InputSource* s) { return s->is_live() && s->has_arrived(); }) ||
           is_interrupted();
  };
  const Nanoseconds span = deadline - now;
  const Nanoseconds start = host_inputs_.now();
  bool is_early = false;
  do {
    is_early = arrived_.wait_for(lock, std::min(span, kLongest), is_over);
  } while (!is_early && host_inputs_.now() - start < span);
  if (!is_early) return deadline;
  // No two input points are at the same time.
  return now + std::clamp(host_inputs_.now() - start, Nanoseconds(1), span);
}

}  // namespace doppel
