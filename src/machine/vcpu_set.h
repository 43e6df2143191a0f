// VcpuSet: a machine's vCPUs, and running them until something ends the run.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/event_loop.h"
#include "base/input_points.h"
#include "base/instruction_inputs.h"
#include "base/timer_queue.h"
#include "machine/engine_profiler.h"
#include "machine/machine_cpu.h"
#include "machine/run_result.h"
#include "machine/timer_alarm.h"

namespace doppel {

// Up to this many vCPUs in a machine.
inline constexpr unsigned kMaxVcpus = 64;

// Runs vCPUs either on threads of their own (run_on_threads: the host's clock) or in turns on the calling
// thread (run_in_turns: the clock that counts instructions, where runs repeat exactly). Owned by the machine.
// Functions marked "locked" are called with the device lock held, on any thread; the others without it.
class VcpuSet final : public VcpuEvents {
 public:
  VcpuSet(unsigned count, MachineBuses& buses, GuestMemory& memory, TimerQueue& timers, ApicBus& apic_bus,
          const x86::CpuidTable& cpuid);

  // --- Before the first run; each vCPU gets its engine, too
  // Called before each slice and when the alarm went off; locked.
  void set_before_slice(std::function<void()> callback) { before_slice_ = std::move(callback); }
  void set_alarm(TimerAlarm* alarm) { alarm_ = alarm; }
  // What halted vCPUs poll.
  void set_event_loop(EventLoop* loop) { loop_ = loop; }
  // For runs in turns.
  void set_input_points(InputPoints* points) { input_points_ = points; }
  // Null: nobody profiles.
  void set_profiler(EngineProfiler* profiler) { profiler_ = profiler; }
  // Host CPUs for the vCPUs, in turn; empty: wherever the host likes.
  void set_host_cpus(std::vector<unsigned> host_cpus) { host_cpus_ = std::move(host_cpus); }

  unsigned count() const { return static_cast<unsigned>(cpus_.size()); }
  MachineCpu& cpu(unsigned index) { return *cpus_[index]; }
  const MachineCpu& cpu(unsigned index) const { return *cpus_[index]; }
  // Instructions retired by all vCPUs. Not while they run on threads.
  u64 instructions_retired() const;

  // --- Running. At most `max_instructions` more, all vCPUs together: exactly with one vCPU or in turns, else
  // up to a slice of each vCPU more.
  RunResult run_on_threads(u64 max_instructions, WhenHalted when_halted);
  RunResult run_in_turns(u64 max_instructions, WhenHalted when_halted, InstructionInputs& inputs);

  // Ends the run, now and each later one; locked.
  void stop(RunResult result);
  // Ends the run, or the next one if there is none; locked.
  void quit();

  // Returns when no vCPU executes: each stands at an instruction boundary, or will before it executes more.
  // Timers stand still, too. Pauses nest, and may be made when nothing runs. Not on a vCPU's thread.
  void pause();
  void resume();
  // The same without waiting; locked.
  void begin_pause();
  void end_pause();

  // What to do when a vCPU met what Vcpu::set_debug() asked for; called on its thread, locked.
  using OnDebug = std::function<void(unsigned cpu, const DebugHit& hit)>;
  void set_on_debug(OnDebug callback) { on_debug_ = std::move(callback); }
  // These vCPUs stand still although the machine runs; entries that are missing run. Locked.
  void hold(const std::vector<bool>& held);

  // Fires what is due; keeps the alarm right when no vCPU does. Locked.
  void run_due();
  void update_alarm();

  // Whose turn it is, in turns.
  void visit_state(StateVisitor& visitor);

  // VcpuEvents
  void after_access(u32 id) override;
  void wake(u32 id) override;
  void kick_halted(u32 id) override;

 private:
  // The slice of run_in_turns: `cpu` may retire `left` instructions more.
  struct Turn {
    u32 cpu = 0;
    u64 left = 0;
  };
  using Lock = std::unique_lock<std::mutex>;

  void begin_run(u64 max_instructions, WhenHalted when_halted);
  bool prepare(MachineCpu& cpu, Lock& lock);
  void wait_while_held(MachineCpu& cpu, Lock& lock);
  Exit enter(MachineCpu& cpu, RunLimit limit, Lock& lock);
  void end(RunResult result);
  void wake_all();
  void count_awake();

  // vcpu_threads.cc
  void run_cpu(MachineCpu& cpu);
  void sleep(MachineCpu& cpu, Lock& lock);
  bool may_poll() const;
  void poll(MachineCpu& cpu, Nanoseconds start, Lock& lock);
  void wait_once(MachineCpu& cpu, Lock& lock);

  // vcpu_turns.cc
  RunLimit next_limit();
  void next_turn();
  u64 turn_length() const;
  bool has_inputs() const { return input_points_ != nullptr && input_points_->is_used(); }
  Nanoseconds idle_until(Lock& lock);

  MachineBuses& buses_;
  TimerQueue& timers_;
  TimerAlarm* alarm_ = nullptr;
  EventLoop* loop_ = nullptr;
  InputPoints* input_points_ = nullptr;
  EngineProfiler* profiler_ = nullptr;
  std::function<void()> before_slice_;
  OnDebug on_debug_;
  std::vector<std::unique_ptr<MachineCpu>> cpus_;
  std::vector<unsigned> host_cpus_;
  const unsigned host_cpu_count_;  // that this process may use

  // Guarded by the device lock.
  std::condition_variable quiet_;  // with inside_: nobody executes any more
  unsigned inside_ = 0;            // vCPUs whose engine runs
  unsigned awake_ = 0;             // vCPUs whose slices look at the timers
  unsigned pauses_ = 0;
  bool is_polling_ = false;  // a halted vCPU polls, for all
  bool is_stopped_ = false;  // for good, with stop_
  bool is_ending_ = false;   // this run, with result_
  bool quits_ = false;
  RunResult stop_;
  RunResult result_;
  WhenHalted when_halted_ = WhenHalted::kWait;
  u64 retired_ = 0;           // by all vCPUs, as they last came back
  u64 last_ = 0;              // value of retired_ that ends the run
  Nanoseconds slice_end_{0};  // in turns: machine time up to which a vCPU runs without looking at timers
  Turn turn_;
};

}  // namespace doppel
