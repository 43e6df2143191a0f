// EnginePlan: which engine a machine starts with, and what it must be like so that its engines can run it.
#pragma once

#include <optional>
#include <string_view>

#include "engine/kvm/kvm_device.h"
#include "machine/engine_vcpu.h"
#include "x86/features.h"

namespace doppel {

enum class EngineChoice : u8 { kAuto, kInterp, kJit, kKvm };

// auto, interp, jit, kvm.
Result<EngineChoice> parse_engine(std::string_view name);

struct EngineRequest {
  EngineChoice choice = EngineChoice::kAuto;
  bool is_switchable = false;        // KVM may be asked for later
  bool counts_instructions = false;  // as a clock or to stop
  std::string_view cpu_template;
};

// What is decided before a machine is made, because its guest sees it.
struct EnginePlan {
  Engine first = Engine::kInterp;
  std::optional<kvm::KvmDevice> kvm;  // when KVM may run the machine, now or later
  u64 tsc_hz = 1'000'000'000;
  x86::FeatureSet removed;       // from CPUID
  u32 removed_kvm_features = 0;  // from CPUID.40000001H:EAX
};

// kAuto takes KVM where it is there and real, else the interpreter. Asking for KVM where it cannot work is an
// error that says why.
Result<EnginePlan> plan_engines(const EngineRequest& request, Inputs& inputs);

}  // namespace doppel
