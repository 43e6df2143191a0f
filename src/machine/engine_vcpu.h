// EngineVcpu: a vCPU whose engine can be changed while the machine runs.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>

#include "cpu/vcpu.h"
#include "memory/guest_memory.h"

namespace doppel {

enum class Engine : u8 { kInterp, kJit, kKvm };
inline constexpr unsigned kEngineCount = 3;
std::string_view engine_name(Engine engine);

// Makes one vCPU of an engine; empty where the machine was made without that engine.
using EngineMaker = std::function<Result<std::unique_ptr<Vcpu>>()>;

// Stands before the engines of one vCPU and passes everything on to the one in use. The interpreter also
// executes the instructions that another engine cannot, one by one, and everything as long as a debugger asks
// for stops that the other engine cannot make. Owned by the machine; called as Vcpu says, and switch_to() and
// set_debug() while nothing runs.
class EngineVcpu final : public Vcpu {
 public:
  // `makers` in the order of Engine.
  EngineVcpu(GuestMemory& memory, std::array<EngineMaker, kEngineCount> makers)
      : memory_(memory), makers_(std::move(makers)) {}

  // The first time it chooses, then it carries the state over. After a failure the vCPU is as before.
  Result<void> switch_to(Engine engine);
  // The engine that was chosen.
  Engine engine() const { return engine_; }

  Exit run(RunLimit limit) override;
  u64 instructions_retired() const override { return active().instructions_retired(); }
  bool runs_in_slices() const override { return active().runs_in_slices(); }
  void kick() override { active().kick(); }
  void notify_interrupt() override { active().notify_interrupt(); }
  void notify_nmi() override { active().notify_nmi(); }
  void end_halt() override { active().end_halt(); }
  void save(CpuState& state) override { active().save(state); }
  void load(const CpuState& state) override { active().load(state); }
  Result<void> set_debug(const DebugControl& control) override;
  std::vector<std::pair<std::string_view, u64>> statistics() const override;
  void add_metrics(MetricList& list) const override { active().add_metrics(list); }
  const GuestLocator* locator() const override { return active().locator(); }
  void invalidate(GuestPhys address, u64 size) override { active().invalidate(address, size); }

 private:
  Vcpu& active() const { return *active_.load(std::memory_order_acquire); }
  Result<Vcpu*> prepare(Engine engine);
  void hand_over(Vcpu& next, const CpuState& state);
  Result<void> place(Engine chosen, const DebugControl& control);
  void move_to(Vcpu& next);
  Result<Exit> step_elsewhere();
  bool is_reportable(const Exit& exit) const;

  GuestMemory& memory_;
  std::array<EngineMaker, kEngineCount> makers_;
  std::array<std::unique_ptr<Vcpu>, kEngineCount> made_;  // kept: KVM never gives up a vCPU
  std::atomic<Vcpu*> active_ = nullptr;  // the event loop's thread notifies while engines change
  Engine engine_ = Engine::kInterp;
  DebugControl control_;
  bool has_warned_ = false;
  u64 switches_ = 0;
  u64 steps_ = 0;  // instructions the interpreter executed for another engine
};

}  // namespace doppel
