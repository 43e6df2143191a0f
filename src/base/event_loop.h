// EventLoop: the thread on which a machine hears of the host's file descriptors.
#pragma once

#include <poll.h>

#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <tuple>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"

namespace doppel {

// Someone who waits for file descriptors that change from one wait to the next, or for host time to pass.
// Called on the loop's thread with its lock held.
class Poller {
 public:
  virtual ~Poller() = default;
  // Appends what to wait for and returns after how many milliseconds to wake at the latest; -1: whenever.
  virtual int prepare(std::vector<pollfd>& waits) = 0;
  // `waits` are the entries this poller appended, with their revents.
  virtual void dispatch(std::span<const pollfd> waits) = 0;

  // For those who learn without a system call that something is ready. While it is polled, a poller need not
  // make its descriptors ready; poll() handles what is, and says whether there was anything. Called on any
  // thread, with the lock held.
  virtual void set_polled(bool is_polled) { std::ignore = is_polled; }
  virtual bool poll() { return false; }
};

// Waits on its own thread and runs every callback there with `lock` held: the machine's device lock, so that
// back ends and devices need none of their own. Owned by the machine, which starts it before its vCPUs and
// stops it after them. add(), remove() and post() may be called from any thread that holds the lock or from
// before start() to after stop().
class EventLoop {
 public:
  static Result<std::unique_ptr<EventLoop>> create(std::mutex& lock);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void start();
  // Returns once no callback runs any more. Must not hold the lock.
  void stop();

  // Runs what is ready now, without waiting, on the calling thread, which holds the lock: for those who have
  // the callbacks at instants of their own choice. Not between start() and stop().
  void dispatch_ready();

  // Busy waiting, for a thread that has nothing else to do and holds the lock: begin, then poll() often,
  // which runs what is ready on the calling thread, then end, after which the loop's own thread hears of
  // everything again. One thread at a time.
  void begin_polling();
  // Both: whether anything ran.
  bool poll();
  bool end_polling();

  // A poller removes itself before it goes.
  void add(Poller& poller);
  void remove(Poller& poller);
  // Makes the loop prepare its waits again.
  void wake();

 private:
  EventLoop(std::mutex& lock, UniqueFd wake_fd);
  void run();
  void turn(std::unique_lock<std::mutex>& lock, bool may_wait);

  std::mutex& lock_;
  UniqueFd wake_fd_;  // an eventfd
  std::vector<Poller*> pollers_;
  // Of the turn that runs: what is waited for, and where each poller's entries begin.
  std::vector<pollfd> waits_;
  std::vector<std::size_t> starts_;
  bool is_stopping_ = false;
  bool is_polled_ = false;
  std::thread thread_;
};

// Watches one file descriptor for as long as it exists. Made, changed and destroyed with the loop's lock
// held.
class FdWatch final : private Poller {
 public:
  // `events` as for poll(2); POLLERR and POLLHUP are always reported. The descriptor outlives the watch.
  FdWatch(EventLoop& loop, int fd, short events, std::function<void(short)> callback);
  ~FdWatch() override;
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  void set_events(short events);

 private:
  int prepare(std::vector<pollfd>& waits) override;
  void dispatch(std::span<const pollfd> waits) override;

  EventLoop& loop_;
  int fd_;
  short events_;
  std::function<void(short)> callback_;
};

}  // namespace doppel
