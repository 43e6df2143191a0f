// VcpuBackend: executes an instruction through an engine's Vcpu, in a guest built around it.
#pragma once

#include <functional>
#include <memory>

#include "cpu/platform.h"
#include "cpu/vcpu.h"
#include "tests/differential/backend.h"
#include "tests/differential/guest_world.h"

namespace doppel::differential {

using EngineFactory = std::function<Result<std::unique_ptr<Vcpu>>(GuestMemory&, CpuPlatform&)>;

// Between the two descriptions of what user code sees; a CpuState has more, which stays.
void set_user_state(CpuState& state, const UserState& in);
void get_user_state(const CpuState& state, UserState& out);

// Owns the guest and the vCPU. Faults are those the guest's own IDT received.
class VcpuBackend : public Backend {
 public:
  static Result<std::unique_ptr<VcpuBackend>> create(const EngineFactory& factory);

  void place(const Placement& placement) override;
  void run(const UserState& in, std::span<const u8> memory, Outcome& out) override;
  std::span<const u8> window() const override;

 private:
  explicit VcpuBackend(std::unique_ptr<GuestMemory> memory);
  void read_back(Outcome& out);

  std::unique_ptr<GuestMemory> memory_;
  GuestWorld world_;
  std::unique_ptr<CpuPlatform> platform_;
  EngineFactory factory_;  // owns what the engine refers to
  std::unique_ptr<Vcpu> vcpu_;
  Placement placement_;
  CpuState start_;
  CpuState end_;
};

}  // namespace doppel::differential
