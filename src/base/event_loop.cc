// Waiting with poll(2) and calling pollers under the lock.
#include "base/event_loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <utility>

#include "base/verify.h"

namespace doppel {

Result<std::unique_ptr<EventLoop>> EventLoop::create(std::mutex& lock) {
  UniqueFd wake_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_fd.is_valid()) return fail("event loop: {}", std::strerror(errno));
  return std::unique_ptr<EventLoop>(new EventLoop(lock, std::move(wake_fd)));
}

EventLoop::EventLoop(std::mutex& lock, UniqueFd wake_fd) : lock_(lock), wake_fd_(std::move(wake_fd)) {}

EventLoop::~EventLoop() { stop(); }

void EventLoop::start() {
  VERIFY(!thread_.joinable());
  is_stopping_ = false;
  thread_ = std::thread([this] { run(); });
}

void EventLoop::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(lock_);
    is_stopping_ = true;
  }
  wake();
  thread_.join();
}

void EventLoop::add(Poller& poller) {
  pollers_.push_back(&poller);
  poller.set_polled(is_polled_);
  wake();
}

void EventLoop::remove(Poller& poller) {
  // run() may be walking the list: the place stays, so that its positions hold.
  std::ranges::replace(pollers_, &poller, nullptr);
  wake();
}

void EventLoop::wake() {
  const u64 one = 1;
  // Fails only when the counter is full, and then the loop wakes anyway.
  std::ignore = ::write(wake_fd_.get(), &one, sizeof(one));
}

void EventLoop::run() {
  std::unique_lock lock(lock_);
  while (!is_stopping_) turn(lock, true);
}

void EventLoop::dispatch_ready() {
  VERIFY(!thread_.joinable());
  is_stopping_ = false;
  std::unique_lock lock(lock_, std::adopt_lock);
  turn(lock, false);
  lock.release();
}

void EventLoop::begin_polling() {
  VERIFY(!std::exchange(is_polled_, true));
  for (Poller* poller : pollers_) {
    if (poller != nullptr) poller->set_polled(true);
  }
}

bool EventLoop::poll() {
  bool has_run = false;
  // By position: callbacks may add pollers, and remove them.
  for (std::size_t i = 0; i < pollers_.size(); ++i) {
    if (pollers_[i] != nullptr && pollers_[i]->poll()) has_run = true;
  }
  return has_run;
}

bool EventLoop::end_polling() {
  is_polled_ = false;
  for (Poller* poller : pollers_) {
    if (poller != nullptr) poller->set_polled(false);
  }
  // What came before a descriptor spoke again.
  return poll();
}

void EventLoop::turn(std::unique_lock<std::mutex>& lock, bool may_wait) {
  std::erase(pollers_, nullptr);
  waits_.assign(1, {wake_fd_.get(), POLLIN, 0});
  starts_.clear();
  int timeout = may_wait ? -1 : 0;
  for (std::size_t i = 0; i < pollers_.size(); ++i) {
    starts_.push_back(waits_.size());
    const int wanted = pollers_[i] == nullptr ? -1 : pollers_[i]->prepare(waits_);
    if (wanted >= 0) timeout = timeout < 0 ? wanted : std::min(timeout, wanted);
  }
  starts_.push_back(waits_.size());
  lock.unlock();
  std::ignore = ::poll(waits_.data(), waits_.size(), timeout);
  u64 count = 0;
  if (waits_[0].revents != 0) std::ignore = ::read(wake_fd_.get(), &count, sizeof(count));
  lock.lock();
  for (std::size_t i = 0; i + 1 < starts_.size() && !is_stopping_; ++i) {
    const std::span<const pollfd> own(waits_.data() + starts_[i], starts_[i + 1] - starts_[i]);
    if (pollers_[i] != nullptr) pollers_[i]->dispatch(own);
  }
}

FdWatch::FdWatch(EventLoop& loop, int fd, short events, std::function<void(short)> callback)
    : loop_(loop), fd_(fd), events_(events), callback_(std::move(callback)) {
  loop_.add(*this);
}

FdWatch::~FdWatch() { loop_.remove(*this); }

void FdWatch::set_events(short events) {
  if (events == events_) return;
  events_ = events;
  loop_.wake();
}

int FdWatch::prepare(std::vector<pollfd>& waits) {
  waits.push_back({fd_, events_, 0});
  return -1;
}

void FdWatch::dispatch(std::span<const pollfd> waits) {
  // A copy: the callback may destroy this watch.
  const auto callback = callback_;
  if (waits[0].revents != 0) callback(waits[0].revents);
}

}  // namespace doppel
