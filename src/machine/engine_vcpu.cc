// Changing engines, and lending the interpreter to another one.
#include "machine/engine_vcpu.h"

#include "base/log.h"
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
  TRY_VOID(place(engine, control_));
  engine_ = engine;
  return {};
}

Result<void> EngineVcpu::set_debug(const DebugControl& control) {
  TRY_VOID(place(engine_, control));
  control_ = control;
  return {};
}

// Lets the chosen engine run, or the interpreter where the chosen one cannot make a debugger's stops. The
// debugger takes its stops out and puts them back all the time: the warning comes once.
Result<void> EngineVcpu::place(Engine chosen, const DebugControl& control) {
  Vcpu* next = TRY(prepare(chosen));
  const bool is_debugged = !control.is_empty() || !control_.is_empty();
  const Result<void> able = is_debugged ? next->set_debug(control) : Result<void>();
  if (!able) {
    if (chosen == Engine::kInterp || !makers_[static_cast<unsigned>(Engine::kInterp)]) return able;
    next = TRY(prepare(Engine::kInterp));
    TRY_VOID(next->set_debug(control));
    if (!std::exchange(has_warned_, true)) {
      LOG_WARNING("{}; the interpreter runs the guest as long as the debugger asks for it",
                  able.error().message);
    }
  }
  move_to(*next);
  return {};
}

void EngineVcpu::move_to(Vcpu& next) {
  Vcpu* last = active_.load();
  if (&next == last) return;
  if (last != nullptr) {
    if (!control_.is_empty()) std::ignore = last->set_debug({});
    CpuState state;
    last->save(state);
    hand_over(next, state);
    ++switches_;
  }
  active_.store(&next, std::memory_order_release);
  // What was told to the last one meanwhile.
  next.notify_interrupt();
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
    Result<Exit> done = step_elsewhere();
    if (!done) return {ExitReason::kShutdown, done.error().message};
    if (is_reportable(*done)) return std::move(*done);
  }
}

// Of one instruction in the interpreter: has the debugger or the machine to know?
bool EngineVcpu::is_reportable(const Exit& exit) const {
  return control_.steps || (exit.reason == ExitReason::kDebug && exit.debug.cause != DebugCause::kStep);
}

// One instruction in the interpreter, breakpoint or not.
Result<Exit> EngineVcpu::step_elsewhere() {
  Vcpu* stand_in = TRY(prepare(Engine::kInterp));
  VERIFY(stand_in != &active());
  CpuState state;
  active().save(state);
  hand_over(*stand_in, state);
  if (!control_.is_empty()) {
    TRY_VOID(stand_in->set_debug({.breakpoints = {}, .watchpoints = control_.watchpoints, .steps = true}));
    stand_in->notify_interrupt();  // a halt ends with it
  }
  Exit exit = stand_in->run({.instructions = 1});
  if (!control_.is_empty()) TRY_VOID(stand_in->set_debug({}));
  stand_in->save(state);
  active().load(state);
  ++steps_;
  return exit;
}

std::vector<std::pair<std::string_view, u64>> EngineVcpu::statistics() const {
  auto all = active().statistics();
  all.emplace_back("engine_switches", switches_);
  all.emplace_back("steps_elsewhere", steps_);
  return all;
}

}  // namespace doppel
