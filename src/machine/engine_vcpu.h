// EngineVcpu: a vCPU whose engine can be changed while the machine runs.
#pragma once

#include <memory>

#include "cpu/vcpu.h"
#include "engine/interp/interpreter.h"
#include "engine/kvm/kvm_vcpu.h"

namespace doppel {

enum class Engine : u8 { kInterp, kKvm };
std::string_view engine_name(Engine engine);

// Stands before the engine of one vCPU and passes everything on. The interpreter also executes the instructions
// that KVM cannot, one by one. Owned by the machine; called as Vcpu says, and switch_to() while nothing runs.
class EngineVcpu final : public Vcpu {
 public:
  // `vm` may be nullptr; then there is only the interpreter.
  EngineVcpu(const InterpreterConfig& config, kvm::KvmVm* vm) : config_(config), vm_(vm) {}

  // Carries the state over. After a failure the vCPU is as before.
  Result<void> switch_to(Engine engine);
  Engine engine() const { return engine_; }

  Exit run(RunLimit limit) override;
  u64 instructions_retired() const override { return active_->instructions_retired(); }
  void kick() override { active_->kick(); }
  void notify_interrupt() override { active_->notify_interrupt(); }
  void notify_nmi() override { active_->notify_nmi(); }
  void save(CpuState& state) override { active_->save(state); }
  void load(const CpuState& state) override { active_->load(state); }
  Result<void> set_debug(const DebugControl& control) override { return active_->set_debug(control); }
  std::vector<std::pair<std::string_view, u64>> statistics() const override;
  void invalidate(GuestPhys address, u64 size) override { active_->invalidate(address, size); }

 private:
  Result<Vcpu*> prepare(Engine engine);
  void hand_over(Vcpu& next, const CpuState& state);
  Result<void> step_elsewhere();

  InterpreterConfig config_;
  kvm::KvmVm* vm_;
  std::unique_ptr<Vcpu> interpreter_;
  std::unique_ptr<Vcpu> kvm_;  // once made, kept: KVM never gives up a vCPU
  Vcpu* active_ = nullptr;
  Engine engine_ = Engine::kInterp;
  u64 switches_ = 0;
  u64 steps_ = 0;  // instructions the interpreter executed for KVM
};

}  // namespace doppel
