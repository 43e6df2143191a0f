// Machine: a guest around a block, run by one engine.
#pragma once

#include <functional>
#include <memory>

#include "cpu/platform.h"
#include "cpu/vcpu.h"
#include "tests/blocks/block.h"
#include "tests/differential/guest_world.h"
#include "x86/cpuid.h"

namespace doppel::blocks {

enum class Engine : u8 {
  kInterpreter,
  kTranslator,  // as a machine uses it
  kSingle,      // blocks of one instruction
  kUnlinked,    // no block leads to another; little room, so that everything is dropped often
  kCounted,     // stops exactly
  kEngines,
};
inline constexpr unsigned kEngineCount = static_cast<unsigned>(Engine::kEngines);

// What a guest can reach outside its processor: a clock that counts its readings, and an interrupt line.
class BlockPlatform final : public CpuPlatform {
 public:
  static constexpr u8 kVector = 0x90;

  bool is_raised = false;
  std::function<void()> on_tsc;

  void reset() {
    tsc_ = 0;
    is_raised = false;
    on_tsc = nullptr;
  }
  void read_mmio(GuestPhys, std::span<u8> data) override { std::ranges::fill(data, u8{0xff}); }
  void write_mmio(GuestPhys, std::span<const u8>) override {}
  u32 read_port(u16, unsigned) override { return ~u32{0}; }
  void write_port(u16, unsigned, u32) override {}
  bool has_interrupt() override { return is_raised; }
  std::optional<u8> acknowledge_interrupt() override {
    if (!std::exchange(is_raised, false)) return std::nullopt;
    return kVector;
  }
  u8 task_priority() override { return 0; }
  void set_task_priority(u8) override {}
  std::optional<u64> read_msr(u32) override { return std::nullopt; }
  bool write_msr(u32, u64) override { return false; }
  u64 hypercall(u64, std::span<const u64, 4>) override { return ~u64{0}; }
  u64 tsc() override {
    if (on_tsc) on_tsc();
    return ++tsc_ * 0x1'0000'0001;
  }
  void tsc_offset_changed(u64) override {}
  u64 entropy() override { return 0; }

 private:
  u64 tsc_ = 0;
};

// Owned by a worker process.
class Machine {
 public:
  static Result<std::unique_ptr<Machine>> create(Engine engine);

  void place(const Block& block);
  // Prepares for running from the start; what was translated stays.
  void begin(const Start& start);
  // Until the block has ended; false when it does not.
  bool finish();
  // Up to `instructions`, exactly; false: the block has ended before.
  bool advance(u64 instructions);
  // After finish().
  void read(Ending& out);

  // Raises the interrupt, and lets it be delivered now. `interrupted`: the state on the handler's stack.
  void interrupt_now(UserState& interrupted);
  // Runs until the interrupt or the end; true when it was the interrupt.
  bool run_to_interrupt(UserState& interrupted);
  void resume(const UserState& interrupted);
  // The code's frames changed, as far as the engine can tell.
  void forget_code();
  // All address translations are made anew.
  void forget_translations();

  // The code window as it is now.
  std::span<const u8> code() const { return {memory_->host(world_.code()), kCodeSize}; }

  BlockPlatform& platform() { return platform_; }
  Vcpu& vcpu() { return *vcpu_; }
  const CpuState& save() {
    vcpu_->save(state_);
    return state_;
  }

 private:
  explicit Machine(std::unique_ptr<GuestMemory> memory) : memory_(std::move(memory)), world_(*memory_) {}
  void restore_code();
  bool is_ended() { return (save().segments[x86::kCs].selector & 3) == 0; }

  std::unique_ptr<GuestMemory> memory_;
  GuestWorld world_;
  BlockPlatform platform_;
  std::unique_ptr<x86::CpuidTable> cpuid_;
  std::unique_ptr<Vcpu> vcpu_;
  u64 end_ = 0;
  bool is_compat_ = false;
  std::array<u8, kCodeSize> code_;  // as placed: a block may write over itself
  CpuState state_;
};

}  // namespace doppel::blocks
