// What both ways of running vCPUs share: stops, pauses, timers, entering an engine.
#include "machine/vcpu_set.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "base/verify.h"

namespace doppel {

namespace {

// One for each vCPU there can be, when it is not known.
unsigned usable_host_cpus() {
  cpu_set_t host_cpus;
  CPU_ZERO(&host_cpus);
  if (::sched_getaffinity(0, sizeof(host_cpus), &host_cpus) != 0) return kMaxVcpus;
  return static_cast<unsigned>(CPU_COUNT(&host_cpus));
}

}  // namespace

VcpuSet::VcpuSet(unsigned count, MachineBuses& buses, GuestMemory& memory, TimerQueue& timers,
                 ApicBus& apic_bus, const x86::CpuidTable& cpuid)
    : buses_(buses), timers_(timers), host_cpu_count_(usable_host_cpus()) {
  const bool is_crowded = count > 1 && count > host_cpu_count_;
  const VcpuPlatform::World world{buses, memory, timers, apic_bus, cpuid, *this, is_crowded};
  for (u32 id = 0; id < count; ++id) cpus_.push_back(std::make_unique<MachineCpu>(id, world));
}

u64 VcpuSet::instructions_retired() const {
  u64 sum = 0;
  for (const auto& cpu : cpus_) sum += cpu->engine->instructions_retired();
  return sum;
}

void VcpuSet::begin_run(u64 max_instructions, WhenHalted when_halted) {
  retired_ = 0;
  for (const auto& cpu : cpus_) {
    cpu->counted = cpu->engine->instructions_retired();
    cpu->is_asleep = false;
    retired_ += cpu->counted;
  }
  last_ = max_instructions > ~retired_ ? ~u64{0} : retired_ + max_instructions;
  when_halted_ = when_halted;
  is_ending_ = is_stopped_;
  result_ = stop_;
  count_awake();
}

void VcpuSet::count_awake() {
  awake_ = static_cast<unsigned>(std::ranges::count_if(
      cpus_, [](const auto& cpu) { return !cpu->is_asleep && cpu->engine->runs_in_slices(); }));
}

void VcpuSet::end(RunResult result) {
  if (!is_ending_) result_ = result;
  is_ending_ = true;
  wake_all();
}

void VcpuSet::stop(RunResult result) {
  if (is_stopped_) return;
  is_stopped_ = true;
  stop_ = result;
  end(result);
}

void VcpuSet::quit() {
  quits_ = true;
  wake_all();
}

void VcpuSet::wake_all() {
  if (input_points_ != nullptr) input_points_->interrupt();
  for (const auto& cpu : cpus_) {
    cpu->is_woken = true;
    if (cpu->is_inside) cpu->engine->kick();
    cpu->wake.notify_one();
  }
}

void VcpuSet::begin_pause() {
  ++pauses_;
  for (const auto& cpu : cpus_) {
    if (cpu->is_inside) cpu->engine->kick();
  }
}

void VcpuSet::end_pause() {
  VERIFY(pauses_ != 0);
  if (--pauses_ != 0) return;
  count_awake();  // engines may have changed
  wake_all();
  update_alarm();
}

void VcpuSet::pause() {
  Lock lock(buses_.device_lock);
  begin_pause();
  quiet_.wait(lock, [this] { return inside_ == 0; });
}

void VcpuSet::resume() {
  const std::lock_guard lock(buses_.device_lock);
  end_pause();
}

void VcpuSet::run_due() {
  if (pauses_ != 0) return;
  timers_.run_expired(timers_.now());
  if (before_slice_) before_slice_();
}

void VcpuSet::update_alarm() {
  if (alarm_ == nullptr || awake_ != 0 || pauses_ != 0) return;
  alarm_->set(timers_.next_deadline(), timers_.now());
}

void VcpuSet::hold(const std::vector<bool>& held) {
  for (std::size_t i = 0; i < cpus_.size(); ++i) cpus_[i]->is_held = i < held.size() && held[i];
  wake_all();
}

// On threads: like a halted vCPU, a held one looks at no timers.
void VcpuSet::wait_while_held(MachineCpu& cpu, Lock& lock) {
  if (!cpu.is_held || alarm_ == nullptr) return;
  const bool has_slices = cpu.engine->runs_in_slices();
  if (has_slices) --awake_;
  update_alarm();
  cpu.wake.wait(lock, [&] { return !cpu.is_held || is_ending_ || quits_; });
  if (has_slices) ++awake_;
}

// Waits until the vCPU may execute; false when the run is over.
bool VcpuSet::prepare(MachineCpu& cpu, Lock& lock) {
  do {
    wait_while_held(cpu, lock);
    cpu.wake.wait(lock, [this] { return pauses_ == 0 || is_ending_; });
    run_due();
    update_alarm();
  } while ((pauses_ != 0 || (cpu.is_held && alarm_ != nullptr && !quits_)) && !is_ending_);
  if (!is_ending_ && std::exchange(quits_, false)) end({RunEnd::kQuit, 0});
  if (!is_ending_ && retired_ >= last_) end({RunEnd::kInstructionLimit, 0});
  if (is_ending_) return false;
  cpu.is_woken = false;
  cpu.platform.apply_events();
  return true;
}

Exit VcpuSet::enter(MachineCpu& cpu, RunLimit limit, Lock& lock) {
  cpu.is_inside = true;
  ++inside_;
  lock.unlock();
  if (profiler_ != nullptr) profiler_->enter(cpu.platform.id(), *cpu.engine);
  Exit exit = cpu.engine->run(limit);
  if (profiler_ != nullptr) profiler_->leave(cpu.platform.id(), *cpu.engine);
  lock.lock();
  cpu.is_inside = false;
  if (--inside_ == 0 && pauses_ != 0) quiet_.notify_all();
  const u64 retired = cpu.engine->instructions_retired();
  retired_ += retired - cpu.counted;
  cpu.counted = retired;
  if (exit.reason == ExitReason::kDebug && on_debug_) on_debug_(cpu.platform.id(), exit.debug);
  return exit;
}

void VcpuSet::after_access(u32 id) {
  // In turns, a timer that is due before the slice ends cuts the slice short.
  if (alarm_ == nullptr && timers_.next_deadline() < slice_end_) cpus_[id]->engine->kick();
  // Without slices nobody looks at the timers after the access.
  if (alarm_ != nullptr && awake_ == 0) {
    if (before_slice_) before_slice_();
    update_alarm();
  }
}

void VcpuSet::wake(u32 id) {
  MachineCpu& cpu = *cpus_[id];
  if (cpu.is_woken) return;
  cpu.is_woken = true;
  if (!cpu.is_inside) cpu.wake.notify_one();
}

void VcpuSet::kick_halted(u32 id) {
  if (id >= cpus_.size()) return;
  cpus_[id]->platform.paravirt().kick();
  wake(id);
}

}  // namespace doppel
