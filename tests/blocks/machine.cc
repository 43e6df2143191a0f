// Machine: engines and the way in and out of their guests.
#include "tests/blocks/machine.h"

#include <algorithm>
#include <cstring>

#include "base/verify.h"
#include "engine/interp/interpreter.h"
#include "engine/jit/jit.h"
#include "tests/differential/vcpu_backend.h"

namespace doppel::blocks {
namespace {

// More than any block executes: the guest is lost.
constexpr u64 kMaxInstructions = 1'000'000;

TranslatorConfig config_of(Engine engine, const x86::CpuidTable& cpuid) {
  TranslatorConfig config{.features = cpuid.features(), .cache_bytes = 4 * kMiB};
  if (engine == Engine::kSingle) config.block_instructions = 1;
  if (engine == Engine::kCounted) config.counts_instructions = true;
  if (engine == Engine::kUnlinked) {
    config.links_blocks = false;
    config.cache_bytes = 160 * kKiB;
  }
  return config;
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::create(Engine engine) {
  std::unique_ptr<Machine> machine(new Machine(TRY(GuestMemory::create(GuestWorld::kRamSize))));
  machine->cpuid_ = std::make_unique<x86::CpuidTable>(TRY(x86::CpuidTable::create("host", {})));
  std::unique_ptr<TranslatedCode> translated;
  if (engine != Engine::kInterpreter) {
    translated = TRY(create_translator(config_of(engine, *machine->cpuid_)));
  }
  const InterpreterConfig config{*machine->memory_, machine->platform_, *machine->cpuid_};
  machine->vcpu_ = TRY(create_interpreter(config, std::move(translated)));
  return machine;
}

void Machine::place(const Block& block) {
  code_ = block.code;
  end_ = block.end;
  is_compat_ = block.is_compat;
}

void Machine::restore_code() {
  const u8* now = memory_->host(world_.code());
  const auto differs = std::mismatch(code_.begin(), code_.end(), now).first;
  if (differs == code_.end()) return;
  const auto first = static_cast<u64>(differs - code_.begin());
  u64 last = kCodeSize;
  while (code_[last - 1] == now[last - 1]) --last;
  VERIFY(memory_->write(world_.code() + first, {code_.data() + first, last - first}));
}

void Machine::begin(const Start& start) {
  platform_.reset();
  restore_code();
  std::memcpy(memory_->host(world_.data()), start.data.data(), kDataSize);
  std::memcpy(memory_->host(world_.stack()), start.stack.data(), kStackSize);
  std::memset(memory_->host(world_.last_page()), 0, kPageSize);
  state_ = world_.initial_state(is_compat_);
  set_user_state(state_, start.state);
  vcpu_->load(state_);
}

bool Machine::finish() {
  for (u64 runs = 0; runs < kMaxInstructions; ++runs) {
    const Exit exit = vcpu_->run({.instructions = kMaxInstructions, .is_exact = false});
    if (exit.reason == ExitReason::kHalted) return true;
    if (exit.reason != ExitReason::kKicked) return false;
  }
  return false;
}

bool Machine::advance(u64 instructions) {
  vcpu_->run({.instructions = instructions});
  return !is_ended();
}

void Machine::read(Ending& out) {
  const CpuState& state = save();
  Outcome& outcome = out.outcome;
  get_user_state(state, outcome.state);
  world_.read_fault(state, outcome);
  std::memcpy(out.data.data(), memory_->host(world_.data()), kDataSize);
  std::memcpy(out.stack.data(), memory_->host(world_.stack()), kStackSize);
  std::memcpy(out.code.data(), memory_->host(world_.code()), kCodeSize);
  settle_end(end_, out.code, outcome);
}

bool Machine::run_to_interrupt(UserState& interrupted) {
  if (!finish()) return false;
  Outcome outcome;
  get_user_state(save(), outcome.state);
  world_.read_fault(state_, outcome);
  interrupted = outcome.state;
  return outcome.vector == BlockPlatform::kVector;
}

void Machine::interrupt_now(UserState& interrupted) {
  platform_.is_raised = true;
  vcpu_->notify_interrupt();
  run_to_interrupt(interrupted);
}

void Machine::resume(const UserState& interrupted) {
  CpuState next = world_.initial_state(is_compat_);
  set_user_state(next, interrupted);
  vcpu_->load(next);
}

void Machine::forget_code() { vcpu_->invalidate(world_.code(), kCodeSize); }

void Machine::forget_translations() { vcpu_->load(save()); }

}  // namespace doppel::blocks
