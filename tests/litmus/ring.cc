// Rounds: clear, let all run through their slots at once, count.
#include "tests/litmus/ring.h"

#include <barrier>
#include <cstring>
#include <thread>

#include "base/verify.h"
#include "engine/interp/interpreter.h"
#include "engine/jit/jit.h"

namespace doppel::litmus {
namespace {

using differential::kCodeBase;
using differential::kDataSize;
using differential::kStackBase;
using differential::kStackSize;

constexpr u64 kCodeSpacing = 0x400;
constexpr u64 kStackSpacing = 0x100;

}  // namespace

Result<std::unique_ptr<Ring>> Ring::create(unsigned processors, bool translates) {
  std::unique_ptr<Ring> ring(new Ring(TRY(GuestMemory::create(differential::GuestWorld::kRamSize))));
  ring->cpuid_ = std::make_unique<x86::CpuidTable>(TRY(x86::CpuidTable::create("host", {})));
  for (unsigned i = 0; i < processors; ++i) {
    ring->platforms_.push_back(std::make_unique<blocks::BlockPlatform>());
    std::unique_ptr<TranslatedCode> translated;
    if (translates) translated = TRY(create_translator({.features = ring->cpuid_->features()}));
    const InterpreterConfig config{*ring->memory_, *ring->platforms_.back(), *ring->cpuid_, i};
    ring->vcpus_.push_back(TRY(create_interpreter(config, std::move(translated))));
  }
  return ring;
}

CpuState Ring::start_of(unsigned processor) const {
  CpuState state = world_.initial_state(false);
  state.rip = kCodeBase + processor * kCodeSpacing;
  state.gpr[x86::kRsp] = kStacks + processor * kStackSpacing;
  state.rflags = x86::kFlagReserved1 | x86::kFlagIf;
  return state;
}

void Ring::place(const Program& program) {
  for (unsigned i = 0; i < program.processors.size(); ++i) {
    const std::vector<u8> code = assemble(program, i);
    VERIFY(code.size() <= kCodeSpacing && memory_->write(world_.code() + i * kCodeSpacing, code));
  }
}

void Ring::clear() {
  std::memset(memory_->host(world_.data()), 0, kDataSize);
  std::memset(memory_->host(world_.stack()), 0, kStackSize);
}

void Ring::count(const Program& program, Tally& tally) const {
  const u8* seen = memory_->host(world_.stack()) + (kSeen - kStackBase);
  for (u64 slot = 0; slot < kSlots; ++slot) {
    Outcome outcome = {};
    for (unsigned i = 0; i < program.processors.size(); ++i) {
      std::memcpy(&outcome.first[i], seen + slot * kSlotBytes + i * 16, 4);
      std::memcpy(&outcome.second[i], seen + slot * kSlotBytes + i * 16 + 8, 4);
    }
    ++tally.experiments;
    if (program.is_unusual(outcome)) ++tally.unusual;
  }
}

Tally Ring::run(const Program& program, u64 experiments, std::chrono::milliseconds time) {
  VERIFY(program.processors.size() == vcpus_.size());
  place(program);
  clear();
  Tally tally;
  bool is_over = false;
  const auto end = std::chrono::steady_clock::now() + time;
  // Between two rounds, on one of the threads while all wait.
  auto next_round = [&]() noexcept {
    count(program, tally);
    clear();
    is_over = tally.experiments >= experiments || std::chrono::steady_clock::now() >= end;
  };
  std::barrier barrier(static_cast<std::ptrdiff_t>(vcpus_.size()), next_round);
  auto work = [&](unsigned processor) {
    const CpuState start = start_of(processor);
    while (!is_over) {
      vcpus_[processor]->load(start);
      while (vcpus_[processor]->run({.instructions = 100'000'000, .is_exact = false}).reason !=
             ExitReason::kHalted) {
      }
      barrier.arrive_and_wait();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < vcpus_.size(); ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
  return tally;
}

}  // namespace doppel::litmus
