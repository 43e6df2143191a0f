// EnginePlan: which engine a machine starts with, and what it must be like so that its engines can run it.
#pragma once

#include <optional>
#include <string_view>

#include "engine/kvm/kvm_device.h"
#include "machine/engine_vcpu.h"
#include "x86/features.h"

namespace doppel {

enum class EngineChoice : u8 { kAuto, kInterp, kJit, kKvm };

// Does user code of the translator run directly (engine/direct)? kAlways: even where that is slower.
enum class DirectUse : u8 { kAuto, kOff, kAlways };

// auto, off, always.
Result<DirectUse> parse_direct(std::string_view name);

// auto, interp, jit, kvm.
Result<EngineChoice> parse_engine(std::string_view name);

// interp: translated code is checked; empty: it is not.
Result<bool> parse_check_engine(std::string_view name);

struct EngineRequest {
  EngineChoice choice = EngineChoice::kAuto;
  bool is_switchable = false;        // the engine may be changed later
  bool counts_instructions = false;  // as a clock or to stop
  std::string_view cpu_template;
  x86::FeatureSet host = x86::host_features();
};

// What is decided before a machine is made, because its guest sees it.
struct EnginePlan {
  Engine first = Engine::kInterp;
  std::optional<kvm::KvmDevice> kvm;  // when KVM may run the machine, now or later
  bool has_translator = true;         // this host's processor has what translated code needs
  u64 tsc_hz = 1'000'000'000;
  x86::FeatureSet removed;       // from CPUID
  u32 removed_kvm_features = 0;  // from CPUID.40000001H:EAX
};

// kAuto takes KVM where it is there and as fast as hardware (KvmDevice::is_real), else the translator, else
// the interpreter. KVM cannot count instructions, the others can. A machine that is switchable gets all
// engines that work here. Asking for one that does not is an error that says why.
Result<EnginePlan> plan_engines(const EngineRequest& request, Inputs& inputs);

}  // namespace doppel
