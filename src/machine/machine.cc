// Running a machine: time slices, halts, stops.
#include "machine/machine.h"

#include <algorithm>

#include "engine/interp/interpreter.h"
#include "state/state_digest.h"

namespace doppel {
namespace {

// With the host's clock a vCPU looks at the time this often; about 50 microseconds of interpretation.
constexpr u64 kSliceInstructions = 20'000;
constexpr Nanoseconds kLongestSleep = std::chrono::milliseconds(100);
// Console input that waits for the guest to read it.
constexpr std::size_t kMaxTyped = 64 * kKiB;

}  // namespace

void Machine::request_stop(StopReason reason, int status) {
  if (is_stopped_) return;
  is_stopped_ = true;
  switch (reason) {
    case StopReason::kPowerOff:
      stop_ = {RunEnd::kPowerOff, 0};
      break;
    case StopReason::kReset:
      stop_ = {RunEnd::kReset, 0};
      break;
    case StopReason::kGuestPanic:
      stop_ = {RunEnd::kGuestPanic, 0};
      break;
    case StopReason::kDebugExit:
      stop_ = {RunEnd::kDebugExit, status};
      break;
  }
  vcpu_->kick();
}

void Machine::request_quit() {
  quits_ = true;
  const std::lock_guard lock(buses_.device_lock);
  is_woken_ = true;
  vcpu_->kick();
  wake_.notify_all();
}

void Machine::stop_soon() {
  quits_ = true;
  vcpu_->kick();
}

std::size_t Machine::console_input(std::span<const u8> characters) {
  const std::lock_guard lock(buses_.device_lock);
  const std::size_t taken = std::min(characters.size(), kMaxTyped - std::min(kMaxTyped, typed_.size()));
  typed_.insert(typed_.end(), characters.begin(), characters.begin() + static_cast<std::ptrdiff_t>(taken));
  is_woken_ = true;
  vcpu_->kick();
  wake_.notify_all();
  return taken;
}

void Machine::press_power_button() {
  const std::lock_guard lock(buses_.device_lock);
  if (power_button_ != nullptr) power_button_->press_power_button();
  is_woken_ = true;
  vcpu_->kick();
  wake_.notify_all();
}

void Machine::pump_console() {
  if (typed_.empty() || console_input_ == nullptr) return;
  const std::size_t taken = console_input_->receive(typed_);
  typed_.erase(typed_.begin(), typed_.begin() + static_cast<std::ptrdiff_t>(taken));
}

// After a device access: a timer that is due before the slice ends cuts the slice short.
void Machine::kick_if_due() {
  if (is_stopped_ || timers_.next_deadline() < slice_end_) vcpu_->kick();
}

// How far to run before timers are looked at again; device lock held.
RunLimit Machine::next_limit(u64 last_instruction) {
  const u64 left = last_instruction - vcpu_->instructions_retired();
  if (config_.clock == ClockSource::kHost) {
    slice_end_ = Nanoseconds(0);
    return {std::min(left, kSliceInstructions), left <= kSliceInstructions};
  }
  const Nanoseconds now = timers_.now();
  const Nanoseconds deadline = timers_.next_deadline();
  slice_end_ = deadline;
  if (deadline == Timer::kNever) return {left, true};
  const u64 until = deadline <= now ? 1 : static_cast<u64>((deadline - now).count());
  return {std::min(left, until), true};
}

// The vCPU is halted: sleep until a timer or another thread has something for it. False when that cannot
// happen: where the clock stands still without instructions, nobody types either.
bool Machine::wait_until_due() {
  std::unique_lock lock(buses_.device_lock);
  if (is_stopped_ || quits_) return true;
  const Nanoseconds deadline = timers_.next_deadline();
  if (instruction_inputs_ != nullptr) {
    if (deadline == Timer::kNever) return false;
    instruction_inputs_->skip_to(deadline);
    return timers_.now() >= deadline;  // time has an end: see InstructionInputs::kLatest
  }
  const Nanoseconds now = timers_.now();
  if (deadline <= now) return true;
  wake_.wait_for(lock, std::min(deadline == Timer::kNever ? kLongestSleep : deadline - now, kLongestSleep),
                 [this] { return is_woken_; });
  is_woken_ = false;
  return true;
}

bool Machine::is_anything_due() {
  const std::lock_guard lock(buses_.device_lock);
  return timers_.next_deadline() != Timer::kNever;
}

RunResult Machine::run(u64 max_instructions, WhenHalted when_halted) {
  if (loop_ != nullptr) loop_->start();
  const RunResult result = run_vcpu(max_instructions, when_halted);
  if (loop_ != nullptr) loop_->stop();
  return result;
}

RunResult Machine::run_vcpu(u64 max_instructions, WhenHalted when_halted) {
  const u64 first = vcpu_->instructions_retired();
  const u64 last = max_instructions > ~first ? ~u64{0} : first + max_instructions;
  for (;;) {
    RunLimit limit{0};
    {
      const std::lock_guard lock(buses_.device_lock);
      timers_.run_expired(timers_.now());
      pump_console();
      if (is_stopped_) return stop_;
      if (quits_.exchange(false)) return {RunEnd::kQuit, 0};
      if (vcpu_->instructions_retired() >= last) return {RunEnd::kInstructionLimit, 0};
      limit = next_limit(last);
    }
    const Exit exit = vcpu_->run(limit);
    if (exit.reason == ExitReason::kShutdown) return {RunEnd::kTripleFault, 0};
    if (exit.reason != ExitReason::kHalted) continue;
    if (when_halted == WhenHalted::kReturn && !is_anything_due()) return {RunEnd::kHalted, 0};
    if (!wait_until_due()) return {RunEnd::kHalted, 0};
    if (when_halted == WhenHalted::kReturn) return {RunEnd::kHalted, 0};
  }
}

std::vector<Component*> Machine::components() {
  std::vector<Component*> all = {
      &platform_.lapic(), &platform_.paravirt(), &io_apic_, &pic_, &hpet_, &pit_, &system_control_, &rtc_,
      &pci_.host()};
  for (DeviceParts& device : devices_) all.push_back(device.component.get());
  std::ranges::copy(virtio_->components(), std::back_inserter(all));
  return all;
}

void Machine::visit_state(StateVisitor& visitor, StateScope scope) {
  CpuState cpu;
  vcpu_->save(cpu);
  visitor.begin("cpu");
  cpu.visit_state(visitor);
  visitor.end();
  if (visitor.is_loading()) vcpu_->load(cpu);
  // The devices' timers count from the machine's time, so that comes first.
  if (instruction_inputs_ != nullptr) {
    visitor.begin("inputs");
    instruction_inputs_->visit_state(visitor);
    visitor.end();
  }
  if (visitor.is_loading()) platform_.tsc_offset_changed(cpu.tsc_offset);
  for (Component* component : components()) {
    visitor.begin(component->name());
    component->visit_state(visitor);
    visitor.end();
  }
  visit_typed(visitor);
  if (scope == StateScope::kAll) memory_->visit_state(visitor);
}

void Machine::visit_typed(StateVisitor& visitor) {
  const std::lock_guard lock(buses_.device_lock);
  visitor.begin("console");
  visitor.blob("typed", typed_, kMaxTyped);
  visitor.end();
}

u64 Machine::state_hash() {
  StateHasher hasher;
  visit_state(hasher);
  return hasher.digest();
}

std::string Machine::statistics_text() const {
  std::string text = fmt::format("instructions {}\n", vcpu_->instructions_retired());
  for (const auto& [name, value] : vcpu_->statistics()) text += fmt::format("{} {}\n", name, value);
  return text + virtio_->statistics_text();
}

}  // namespace doppel
