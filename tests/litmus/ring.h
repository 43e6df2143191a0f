// Ring: the processors of a litmus test, each on a thread of its own, in one guest memory.
#pragma once

#include <chrono>
#include <memory>

#include "tests/blocks/machine.h"
#include "tests/litmus/program.h"

namespace doppel::litmus {

struct Tally {
  u64 experiments = 0;
  u64 unusual = 0;
};

// Owns guest, vCPUs and, during run(), their threads.
class Ring {
 public:
  static Result<std::unique_ptr<Ring>> create(unsigned processors, bool translates);

  // Rounds until `experiments` were made or the time is up.
  Tally run(const Program& program, u64 experiments, std::chrono::milliseconds time);

 private:
  explicit Ring(std::unique_ptr<GuestMemory> memory) : memory_(std::move(memory)), world_(*memory_) {}
  CpuState start_of(unsigned processor) const;
  void place(const Program& program);
  void clear();
  void count(const Program& program, Tally& tally) const;

  std::unique_ptr<GuestMemory> memory_;
  differential::GuestWorld world_;
  std::unique_ptr<x86::CpuidTable> cpuid_;
  std::vector<std::unique_ptr<blocks::BlockPlatform>> platforms_;
  std::vector<std::unique_ptr<Vcpu>> vcpus_;
};

}  // namespace doppel::litmus
