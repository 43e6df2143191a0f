// Every vCPU on a thread of its own, with the host's clock.
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <thread>
#include <tuple>

#include "machine/vcpu_set.h"

namespace doppel {
namespace {

// A vCPU looks at the time this often; about 50 microseconds of interpretation.
constexpr u64 kSliceInstructions = 20'000;
// Of a vCPU that polls: it must leave the device lock to others most of the time.
constexpr unsigned kPausesBetweenLooks = 16;

// Keeps the calling thread on one host CPU while it exists.
class Pin {
 public:
  explicit Pin(const std::vector<unsigned>& host_cpus, unsigned index) {
    if (host_cpus.empty()) return;
    is_pinned_ = ::pthread_getaffinity_np(::pthread_self(), sizeof(saved_), &saved_) == 0;
    cpu_set_t chosen;
    CPU_ZERO(&chosen);
    CPU_SET(host_cpus[index % host_cpus.size()], &chosen);
    // The list was checked when the machine was made; a CPU that went offline since is no reason to stop.
    std::ignore = ::pthread_setaffinity_np(::pthread_self(), sizeof(chosen), &chosen);
  }
  ~Pin() {
    if (is_pinned_) std::ignore = ::pthread_setaffinity_np(::pthread_self(), sizeof(saved_), &saved_);
  }
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;

 private:
  bool is_pinned_ = false;
  cpu_set_t saved_;
};

}  // namespace

RunResult VcpuSet::run_on_threads(u64 max_instructions, WhenHalted when_halted) {
  {
    const std::lock_guard lock(buses_.device_lock);
    begin_run(max_instructions, when_halted);
  }
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < count(); ++i) {
    threads.emplace_back([this, i] {
      const Pin pin(host_cpus_, i);
      run_cpu(cpu(i));
    });
  }
  {
    const Pin pin(host_cpus_, 0);
    run_cpu(cpu(0));
  }
  for (std::thread& thread : threads) thread.join();
  return result_;
}

void VcpuSet::run_cpu(MachineCpu& cpu) {
  Lock lock(buses_.device_lock);
  while (prepare(cpu, lock)) {
    const u64 left = last_ - retired_;
    const u64 slice = cpu.engine->runs_in_slices() ? kSliceInstructions : ~u64{0};
    const Exit exit = enter(cpu, {std::min(left, slice), left <= slice}, lock);
    if (exit.reason == ExitReason::kShutdown) end({RunEnd::kTripleFault, 0});
    if (exit.reason != ExitReason::kHalted) continue;
    if (cpu.platform.paravirt().take_kick())
      cpu.engine->end_halt();
    else
      sleep(cpu, lock);
  }
}

// The vCPU is halted: until something has work for it. Whoever falls asleep last leaves the timers to the
// alarm.
void VcpuSet::sleep(MachineCpu& cpu, Lock& lock) {
  cpu.is_asleep = true;
  count_awake();
  if (pauses_ == 0) timers_.run_at_rest();
  if (awake_ == 0 && when_halted_ == WhenHalted::kReturn) wait_once(cpu, lock);
  update_alarm();
  const Nanoseconds start = timers_.now();
  poll(cpu, start, lock);
  cpu.wake.wait(lock, [&] { return cpu.is_woken || is_ending_; });
  const Nanoseconds length = timers_.now() - start;
  cpu.platform.accounts().add_halt(length);
  cpu.halt_polling.note_halt(length);
  cpu.is_asleep = false;
  count_awake();
}

// Busy waiting must not take the host CPU of someone who works: another vCPU, or the host for this machine.
bool VcpuSet::may_poll() const {
  if (pauses_ != 0 || is_ending_) return false;
  const auto busy = std::ranges::count_if(cpus_, [](const auto& cpu) { return !cpu->is_asleep; });
  return static_cast<unsigned>(busy) + 2 <= host_cpu_count_;
}

// Looks for what ends the halt, and runs the back ends' completions itself, for as long as halts last lately.
void VcpuSet::poll(MachineCpu& cpu, Nanoseconds start, Lock& lock) {
  const Nanoseconds end = start + cpu.halt_polling.window();
  if (start == end || loop_ == nullptr || is_polling_ || !may_poll()) return;
  loop_->begin_polling();
  is_polling_ = true;
  while (!cpu.is_woken && may_poll() && timers_.now() < end) {
    lock.unlock();
    for (unsigned i = 0; i < kPausesBetweenLooks; ++i) _mm_pause();
    lock.lock();
    // What ran may have set timers.
    if (loop_->poll()) update_alarm();
  }
  is_polling_ = false;
  if (loop_->end_polling()) update_alarm();
  cpu.platform.accounts().add_halt_poll(cpu.is_woken);
}

// With WhenHalted::kReturn, the last vCPU awake: until the next timer at most, and that ends the run.
void VcpuSet::wait_once(MachineCpu& cpu, Lock& lock) {
  const Nanoseconds deadline = timers_.next_deadline();
  const Nanoseconds now = timers_.now();
  if (deadline != Timer::kNever && deadline > now) {
    cpu.wake.wait_for(lock, deadline - now, [&] { return cpu.is_woken || is_ending_; });
  }
  if (!is_ending_) end({RunEnd::kHalted, 0});
}

}  // namespace doppel
