// The machine's timers on the event loop.
#include "machine/timer_alarm.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

namespace doppel {

Result<std::unique_ptr<TimerAlarm>> TimerAlarm::create(EventLoop& loop, std::function<void()> before_wait,
                                                       std::function<void()> on_expiry) {
  UniqueFd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer.is_valid()) return fail("timer: {}", std::strerror(errno));
  return std::unique_ptr<TimerAlarm>(
      new TimerAlarm(loop, std::move(timer), std::move(before_wait), std::move(on_expiry)));
}

TimerAlarm::TimerAlarm(EventLoop& loop, UniqueFd timer, std::function<void()> before_wait,
                       std::function<void()> on_expiry)
    : loop_(loop),
      timer_(std::move(timer)),
      before_wait_(std::move(before_wait)),
      on_expiry_(std::move(on_expiry)) {
  loop_.add(*this);
}

TimerAlarm::~TimerAlarm() { loop_.remove(*this); }

void TimerAlarm::set(Nanoseconds deadline, Nanoseconds now) {
  if (deadline == deadline_) return;
  deadline_ = deadline;
  itimerspec time = {};  // all zero: disarmed
  if (deadline != Timer::kNever) {
    const i64 wait = std::max<i64>((deadline - now).count(), 1);
    time.it_value = {wait / 1'000'000'000, wait % 1'000'000'000};
  }
  std::ignore = ::timerfd_settime(timer_.get(), 0, &time, nullptr);
}

int TimerAlarm::prepare(std::vector<pollfd>& waits) {
  before_wait_();
  waits.push_back({timer_.get(), POLLIN, 0});
  return -1;
}

void TimerAlarm::dispatch(std::span<const pollfd> waits) {
  if (waits[0].revents == 0) return;
  u64 expiries = 0;
  // Nothing to read when the alarm was set anew meanwhile.
  if (::read(timer_.get(), &expiries, sizeof(expiries)) != sizeof(expiries)) return;
  deadline_ = Timer::kNever;
  on_expiry_();
}

}  // namespace doppel
