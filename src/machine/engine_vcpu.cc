// Changing engines, and lending the interpreter to another one.
#include "machine/engine_vcpu.h"

#include "base/verify.h"

namespace doppel {

std::string_view engine_name(Engine engine) {
  static constexpr std::string_view kNames[kEngineCount] = {"interp", "jit", "kvm"};
  return kNames[static_cast<unsigned>(engine)];
}

// The engine's vCPU, made when it is first asked for.
Result<Vcpu*> EngineVcpu::prepare(Engine engine) {
  const auto index = static_cast<unsigned>(engine);
  std::unique_ptr<Vcpu>& vcpu = made_[index];
  if (vcpu) return vcpu.get();
  if (!makers_[index]) return fail("engine {}: the machine was made without it", engine_name(engine));
  vcpu = TRY(makers_[index]());
  return vcpu.get();
}

Result<void> EngineVcpu::switch_to(Engine engine) {
  Vcpu* next = TRY(prepare(engine));
  Vcpu* last = active_.load();
  if (next == last) return {};
  if (last != nullptr) {
    CpuState state;
    last->save(state);
    hand_over(*next, state);
    ++switches_;
  }
  engine_ = engine;
  active_.store(next, std::memory_order_release);
  // What was told to the last one meanwhile.
  next->notify_interrupt();
  return {};
}

// KVM's guests write memory without telling anybody, so that nothing that was decoded before holds.
void EngineVcpu::hand_over(Vcpu& next, const CpuState& state) {
  next.invalidate(GuestPhys(0), memory_.low_size());
  next.invalidate(GuestPhys(GuestMemory::kHighRamStart), memory_.high_size());
  next.load(state);
}

Exit EngineVcpu::run(RunLimit limit) {
  for (;;) {
    Exit exit = active().run(limit);
    if (exit.reason != ExitReason::kUnsupported) return exit;
    if (const Result<void> done = step_elsewhere(); !done) {
      return {ExitReason::kShutdown, done.error().message};
    }
  }
}

// One instruction in the interpreter.
Result<void> EngineVcpu::step_elsewhere() {
  Vcpu* stand_in = TRY(prepare(Engine::kInterp));
  VERIFY(stand_in != &active());
  CpuState state;
  active().save(state);
  hand_over(*stand_in, state);
  stand_in->run({.instructions = 1});
  stand_in->save(state);
  active().load(state);
  ++steps_;
  return {};
}

std::vector<std::pair<std::string_view, u64>> EngineVcpu::statistics() const {
  auto all = active().statistics();
  all.emplace_back("engine_switches", switches_);
  all.emplace_back("steps_elsewhere", steps_);
  return all;
}

}  // namespace doppel
