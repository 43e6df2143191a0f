// Running a machine, what reaches it from outside, and its state.
#include "machine/machine.h"

#include <algorithm>

#include "base/log.h"
#include "state/state_digest.h"

namespace doppel {
namespace {

// Console input that waits for the guest to read it.
constexpr std::size_t kMaxTyped = 64 * kKiB;

RunResult result_of(StopReason reason, int status) {
  switch (reason) {
    case StopReason::kPowerOff:
      return {RunEnd::kPowerOff, 0};
    case StopReason::kReset:
      return {RunEnd::kReset, 0};
    case StopReason::kGuestPanic:
      return {RunEnd::kGuestPanic, 0};
    case StopReason::kDebugExit:
      return {RunEnd::kDebugExit, status};
  }
  return {};
}

}  // namespace

RunResult Machine::run(u64 max_instructions, WhenHalted when_halted) {
  RunResult result;
  if (instruction_inputs_ != nullptr) {
    input_points_.start();
    result = vcpus_.run_in_turns(max_instructions, when_halted, *instruction_inputs_);
    input_points_.stop();
  } else {
    loop_->start();
    result = vcpus_.run_on_threads(max_instructions, when_halted);
    loop_->stop();
  }
  debugger_.run_ended();
  return result;
}

void Machine::request_stop(StopReason reason, int status) { vcpus_.stop(result_of(reason, status)); }

// Can the machine change to it?
Result<void> Machine::check_engine(Engine engine) const {
  if (engine == Engine::kKvm && !kvm_) return fail("engine kvm: the machine was made without it");
  if (engine == Engine::kKvm && !kvm_->device().can_offset_tsc()) {
    return fail(
        "engine kvm: this host's KVM ignores the TSC's offset; a running machine cannot change to it");
  }
  if (engine == Engine::kJit && !engines_.has_translator)
    return fail("engine jit: this host's processor lacks what it needs");
  // Each is a user of its own, also while the other one runs.
  const bool translates = engine == Engine::kJit || engine_ == Engine::kJit;
  if (translates && vcpus_.count() > CodeFrames::kMaxUsers / 2) {
    return fail("engine {}: a machine with more than {} CPUs keeps its engine", engine_name(engine),
                CodeFrames::kMaxUsers / 2);
  }
  return {};
}

Engine Machine::next_engine() const {
  for (unsigned i = 1; i < kEngineCount; ++i) {
    const auto engine = static_cast<Engine>((static_cast<unsigned>(engine_.load()) + i) % kEngineCount);
    if (check_engine(engine)) return engine;
  }
  return engine_;
}

Result<void> Machine::switch_engine(Engine engine) {
  if (engine == engine_) return {};
  TRY_VOID(check_engine(engine));
  vcpus_.pause();
  Result<void> result;
  for (EngineVcpu* vcpu : engine_vcpus_) {
    if (result) result = vcpu->switch_to(engine);
  }
  // All or none: the others may be back where they were.
  for (EngineVcpu* vcpu : engine_vcpus_) {
    if (!result && !vcpu->switch_to(engine_)) LOG_ERROR("a vCPU stays with another engine");
  }
  if (result) engine_ = engine;
  vcpus_.resume();
  return result;
}

void Machine::request_quit() {
  const std::lock_guard lock(buses_.device_lock);
  vcpus_.quit();
  debugger_.release();
}

void Machine::stop_soon() { vcpus_.quit(); }

std::size_t Machine::console_input(std::span<const u8> characters) {
  const std::lock_guard lock(buses_.device_lock);
  auto take = [&] {
    const std::size_t room = kMaxTyped - std::min(kMaxTyped, typed_.size());
    const std::span<const u8> part = characters.first(std::min(characters.size(), room));
    typed_.insert(typed_.end(), part.begin(), part.end());
    characters = characters.subspan(part.size());
    return part.size();
  };
  std::size_t taken = take();
  pump_console();
  taken += take();
  vcpus_.update_alarm();
  return taken;
}

void Machine::press_power_button() {
  const std::lock_guard lock(buses_.device_lock);
  if (power_button_ != nullptr) power_button_->press_power_button();
  vcpus_.update_alarm();
}

void Machine::generation_changed() {
  const std::lock_guard lock(buses_.device_lock);
  if (generation_ && general_events_ != nullptr) generation_->change(*general_events_);
}

void Machine::pump_console() {
  if (typed_.empty() || console_input_ == nullptr) return;
  const std::size_t taken = console_input_->receive(typed_);
  typed_.erase(typed_.begin(), typed_.begin() + static_cast<std::ptrdiff_t>(taken));
}

std::vector<Component*> Machine::components() {
  std::vector<Component*> all;
  for (unsigned i = 0; i < vcpus_.count(); ++i) {
    VcpuPlatform& platform = vcpus_.cpu(i).platform;
    all.push_back(&platform.lapic());
    all.push_back(&platform.paravirt());
  }
  all.insert(all.end(), {&io_apic_, &pic_, &hpet_, &pit_, &system_control_, &rtc_, &pci_.host()});
  for (DeviceParts& device : devices_) all.push_back(device.component.get());
  std::ranges::copy(virtio_->components(), std::back_inserter(all));
  return all;
}

void Machine::visit_vcpus(StateVisitor& visitor) {
  for (unsigned i = 0; i < vcpus_.count(); ++i) {
    MachineCpu& cpu = vcpus_.cpu(i);
    cpu.platform.apply_events();
    CpuState state;
    cpu.engine->save(state);
    visitor.begin("cpu");
    state.visit_state(visitor);
    visitor.end();
    if (visitor.is_loading()) cpu.engine->load(state);
  }
}

void Machine::tsc_offsets_loaded() {
  for (unsigned i = 0; i < vcpus_.count(); ++i) {
    CpuState state;
    vcpus_.cpu(i).engine->save(state);
    vcpus_.cpu(i).platform.set_tsc_offset(state.tsc_offset);
  }
}

void Machine::visit_state(StateVisitor& visitor, StateScope scope) {
  const std::lock_guard lock(buses_.device_lock);
  visit_vcpus(visitor);
  // The devices' timers count from the machine's time, so that comes first.
  if (instruction_inputs_ != nullptr) {
    visitor.begin("inputs");
    instruction_inputs_->visit_state(visitor);
    visitor.end();
    vcpus_.visit_state(visitor);
  }
  if (visitor.is_loading()) tsc_offsets_loaded();
  for (Component* component : components()) {
    visitor.begin(component->name());
    component->visit_state(visitor);
    visitor.end();
  }
  visit_typed(visitor);
  if (scope == StateScope::kAll) memory_->visit_state(visitor);
}

void Machine::visit_typed(StateVisitor& visitor) {
  visitor.begin("console");
  visitor.blob("typed", typed_, kMaxTyped);
  visitor.end();
}

u64 Machine::state_hash() {
  StateHasher hasher;
  visit_state(hasher);
  return hasher.digest();
}

// With several vCPUs the sums, then each one's instructions.
std::string Machine::statistics_text() const {
  std::string text = fmt::format("instructions {}\n", vcpus_.instructions_retired());
  std::vector<std::pair<std::string_view, u64>> sums = vcpus_.cpu(0).engine->statistics();
  for (unsigned i = 1; i < vcpus_.count(); ++i) {
    const auto more = vcpus_.cpu(i).engine->statistics();
    for (std::size_t k = 0; k < std::min(sums.size(), more.size()); ++k) sums[k].second += more[k].second;
  }
  for (const auto& [name, value] : sums) text += fmt::format("{} {}\n", name, value);
  for (unsigned i = 0; vcpus_.count() > 1 && i < vcpus_.count(); ++i) {
    text += fmt::format("cpu{}_instructions {}\n", i, vcpus_.cpu(i).engine->instructions_retired());
  }
  return text + virtio_->statistics_text();
}

}  // namespace doppel
