// Changing engines, and lending the interpreter to KVM.
#include "machine/engine_vcpu.h"

#include "base/verify.h"

namespace doppel {

std::string_view engine_name(Engine engine) { return engine == Engine::kKvm ? "kvm" : "interp"; }

// The engine's vCPU, made when it is first asked for.
Result<Vcpu*> EngineVcpu::prepare(Engine engine) {
  if (engine == Engine::kInterp) {
    if (!interpreter_) interpreter_ = TRY(create_interpreter(config_));
    return interpreter_.get();
  }
  if (vm_ == nullptr) return fail("engine kvm: the machine was made without it");
  if (!kvm_) {
    kvm_ = TRY(create_kvm_vcpu(
        {.vm = *vm_, .platform = config_.platform, .cpuid = config_.cpuid, .apic_id = config_.apic_id}));
  }
  return kvm_.get();
}

Result<void> EngineVcpu::switch_to(Engine engine) {
  Vcpu* next = TRY(prepare(engine));
  if (next == active_) return {};
  if (active_ != nullptr) {
    CpuState state;
    active_->save(state);
    hand_over(*next, state);
    ++switches_;
  }
  engine_ = engine;
  active_ = next;
  return {};
}

// KVM's guests write memory without telling anybody, so that nothing the interpreter decoded before holds.
void EngineVcpu::hand_over(Vcpu& next, const CpuState& state) {
  next.invalidate(GuestPhys(0), config_.memory.low_size());
  next.invalidate(GuestPhys(GuestMemory::kHighRamStart), config_.memory.high_size());
  next.load(state);
}

Exit EngineVcpu::run(RunLimit limit) {
  for (;;) {
    Exit exit = active_->run(limit);
    if (exit.reason != ExitReason::kUnsupported) return exit;
    if (const Result<void> done = step_elsewhere(); !done) {
      return {ExitReason::kShutdown, done.error().message};
    }
  }
}

// One instruction in the interpreter.
Result<void> EngineVcpu::step_elsewhere() {
  Vcpu* stand_in = TRY(prepare(Engine::kInterp));
  VERIFY(stand_in != active_);
  CpuState state;
  active_->save(state);
  hand_over(*stand_in, state);
  stand_in->run({.instructions = 1});
  stand_in->save(state);
  active_->load(state);
  ++steps_;
  return {};
}

std::vector<std::pair<std::string_view, u64>> EngineVcpu::statistics() const {
  auto all = active_->statistics();
  all.emplace_back("engine_switches", switches_);
  all.emplace_back("steps_for_kvm", steps_);
  return all;
}

}  // namespace doppel
