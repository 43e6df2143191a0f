// The interpreter as the reference that translated code is checked against.
#include <algorithm>

#include "engine/interp/interpreter.h"

namespace doppel {
namespace interp {

// Traces are found and run as in run(), without anything between them that could be an event.
u64 Interpreter::execute(u64 instructions) {
  memory.code_frames().handle_mail(mmu.code_user());
  budget = static_cast<i64>(instructions);
  has_fault = false;
  link_slot = nullptr;
  dead_trace = nullptr;
  while (budget > 0) {
    refresh();
    Trace* trace = lookup(false);
    if (trace != nullptr && trace->count > budget) {
      link_slot = nullptr;
      trace = lookup(true);
    }
    if (trace == nullptr) break;
    state.rflags &= ~x86::kFlagRf;
    run_trace(*trace);
    // Translated code has no interrupt shadows, and its repeated instructions are done whole.
    state.shadow = kShadowNone;
    if ((state.rflags & x86::kFlagRf) != 0) {
      ++budget;
    } else if (has_fault || observer->has_refused()) {
      break;
    }
  }
  budget_at_entry_ = budget;
  return instructions - static_cast<u64>(budget);
}

namespace {

// What a reference may not reach: it answers as if nothing were there.
class Nowhere final : public CpuPlatform {
 public:
  void read_mmio(GuestPhys, std::span<u8> data) override { std::ranges::fill(data, u8{0xff}); }
  void write_mmio(GuestPhys, std::span<const u8>) override {}
  u32 read_port(u16, unsigned) override { return ~u32{0}; }
  void write_port(u16, unsigned, u32) override {}
  bool has_interrupt() override { return false; }
  std::optional<u8> acknowledge_interrupt() override { return std::nullopt; }
  u8 task_priority() override { return 0; }
  void set_task_priority(u8) override {}
  std::optional<u64> read_msr(u32) override { return std::nullopt; }
  bool write_msr(u32, u64) override { return false; }
  void tsc_offset_changed(u64) override {}
  u64 hypercall(u64, std::span<const u64, 4>) override { return 0; }
  u64 tsc() override { return 0; }
  u64 entropy() override { return 0; }
};

class InterpreterReference final : public InstructionReference {
 public:
  InterpreterReference(const InterpreterConfig& config, BorrowedCode borrowed)
      : interpreter_(
            {.memory = config.memory, .platform = nowhere_, .cpuid = config.cpuid, .apic_id = config.apic_id},
            std::move(borrowed), nullptr) {}
  void follow(Core& leader, AccessObserver& observer) override {
    interpreter_.observer = &observer;
    interpreter_.mmu.follow(leader.mmu, observer);
  }
  CpuState& state() override { return interpreter_.state; }
  u64 execute(u64 instructions) override { return interpreter_.execute(instructions); }
  void walk_code(u64 rip) override {
    interpreter_.refresh();
    if (!interpreter_.is_canonical(rip)) return;
    interpreter_.mmu.walk(GuestVirt(rip), Access::kFetch, interpreter_.cpl == 3 ? kUser : kSupervisor);
  }
  std::optional<Fault> fault() const override {
    return interpreter_.has_fault ? std::optional(interpreter_.fault) : std::nullopt;
  }

 private:
  Nowhere nowhere_;
  Interpreter interpreter_;
};

}  // namespace
}  // namespace interp

Result<std::unique_ptr<InstructionReference>> create_interpreter_reference(const InterpreterConfig& config) {
  return std::make_unique<interp::InterpreterReference>(config, TRY(BorrowedCode::create()));
}

}  // namespace doppel
