// InputPoints: the instants at which a machine on the instruction clock lets the outside in.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/host_inputs.h"
#include "base/timer_queue.h"

namespace doppel {

// Something outside that a machine on the instruction clock hears of: live, while it is recorded, or out of a
// recording. Called with the device lock held.
class InputSource {
 public:
  virtual ~InputSource() = default;
  // Live: what comes next is not known, and when nothing else is to be done the machine waits for it.
  virtual bool is_live() const = 0;
  // Live: something waits for the next input point.
  virtual bool has_arrived() const = 0;
  // Recorded: machine time of the next input; Timer::kNever after the last one.
  virtual Nanoseconds next_input() const = 0;
  // An input point: hands over all that has arrived, or all that is due.
  virtual void let_in(Nanoseconds now) = 0;
};

// Input points are part of what makes runs repeat: they are at multiples of kInterval of machine time and at
// the end of each idle time, whatever comes in there, and no two are at the same time. So a recording that
// says when something came in says it exactly. A machine without sources has no input points. Owned by the
// machine; called with the device lock held.
class InputPoints {
 public:
  static constexpr Nanoseconds kInterval{20'000};

  explicit InputPoints(std::mutex& device_lock) : device_lock_(device_lock) {}
  InputPoints(const InputPoints&) = delete;
  InputPoints& operator=(const InputPoints&) = delete;

  // --- For sources. A source removes itself before it goes.
  void add(InputSource& source) { sources_.push_back(&source); }
  void remove(InputSource& source) { std::erase(sources_, &source); }
  // What stands behind a live source runs on the host's clock, and on this loop. Made when first asked for.
  Result<EventLoop*> host_loop();
  Inputs& host_inputs() { return host_inputs_; }
  // A live source has something.
  void arrived() { arrived_.notify_all(); }
  // The guest does not do what the recording says; `what` is one line for the user. The machine stops.
  void diverged(std::string_view what);

  // --- For the machine
  void set_on_diverged(std::function<void()> callback) { on_diverged_ = std::move(callback); }
  void start();  // around each run, without the lock
  void stop();
  bool is_used() const { return !sources_.empty(); }
  // Machine time of the next input point.
  Nanoseconds next() const { return next_; }
  // Lets in what there is if an input point is reached.
  void pass(Nanoseconds now);
  // All vCPUs halt: the time to move on to, at most `deadline`, which becomes an input point. Waits for live
  // sources as long as that would take on the host, or until interrupt(); `lock` is the device lock.
  Nanoseconds idle_until(std::unique_lock<std::mutex>& lock, Nanoseconds now, Nanoseconds deadline,
                         const std::function<bool()>& is_interrupted);
  void interrupt() { arrived_.notify_all(); }

  // `visitor` is a StateVisitor; this layer only knows that it takes named integers.
  template <class Visitor>
  void visit_state(Visitor& visitor) {
    i64 next = next_.count();
    visitor.field("next_input_point", next);
    next_ = Nanoseconds(next);
  }

 private:
  Nanoseconds wait_for_live(std::unique_lock<std::mutex>& lock, Nanoseconds now, Nanoseconds deadline,
                            const std::function<bool()>& is_interrupted);

  std::mutex& device_lock_;
  HostInputs host_inputs_;
  std::unique_ptr<EventLoop> host_loop_;
  std::condition_variable arrived_;
  std::function<void()> on_diverged_;
  std::vector<InputSource*> sources_;
  Nanoseconds next_{0};
};

}  // namespace doppel
