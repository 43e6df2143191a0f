// Deciding for an engine.
#include "machine/engine_choice.h"

#include "base/log.h"
#include "engine/kvm/kvm_cpuid.h"
#include "x86/cpuid.h"

namespace doppel {
namespace {

// The instruction sets that a named level promises to programs must be there; of the host's own processor a
// guest gets what KVM passes on.
Result<void> check_level(const kvm::KvmDevice& device, std::string_view cpu_template) {
  if (cpu_template.starts_with("host")) return {};
  const x86::CpuidTable table = TRY(x86::CpuidTable::create(cpu_template, {}));
  const x86::FeatureSet missing = kvm::missing_features(device);
  std::string names;
  for (unsigned i = 0; i < x86::kFeatureCount; ++i) {
    const auto feature = static_cast<x86::Feature>(i);
    const x86::FeatureInfo& info = x86::feature_info(feature);
    const bool is_promised = info.support == x86::FeatureSupport::kBorrowed && table.has(feature);
    if (is_promised && missing.has(feature)) names += fmt::format(" {}", info.name);
  }
  if (names.empty()) return {};
  return fail("engine kvm: CPU template {} needs what this host's KVM does not offer:{}; give --cpu host",
              cpu_template, names);
}

Result<kvm::KvmDevice> open_kvm(const EngineRequest& request) {
  kvm::KvmDevice device = TRY(kvm::KvmDevice::open());
  TRY_VOID(check_level(device, request.cpu_template));
  return device;
}

EnginePlan plan_with(kvm::KvmDevice device, Engine first) {
  EnginePlan plan{.first = first,
                  .kvm = std::nullopt,
                  .tsc_hz = u64{device.tsc_khz()} * 1000,
                  .removed = kvm::missing_features(device),
                  .removed_kvm_features = kvm::hypercall_features()};
  plan.kvm = std::move(device);
  return plan;
}

}  // namespace

Result<EngineChoice> parse_engine(std::string_view name) {
  if (name == "auto") return EngineChoice::kAuto;
  if (name == "interp") return EngineChoice::kInterp;
  if (name == "jit") return EngineChoice::kJit;
  if (name == "kvm") return EngineChoice::kKvm;
  return fail_usage("--engine {}: give auto, interp, jit or kvm", name);
}

Result<EnginePlan> plan_engines(const EngineRequest& request, Inputs& inputs) {
  const bool needs_kvm = request.choice == EngineChoice::kKvm || request.is_switchable;
  if (request.choice == EngineChoice::kJit && !request.is_switchable) {
    EnginePlan plan;
    plan.first = Engine::kJit;
    return plan;
  }
  if (needs_kvm && request.counts_instructions) {
    return fail_usage(
        "engine kvm: it does not count instructions; "
        "--clock instructions and --max-instructions need --engine interp");
  }
  if (needs_kvm) {
    kvm::KvmDevice device = TRY(open_kvm(request));
    return plan_with(std::move(device),
                     request.choice == EngineChoice::kInterp ? Engine::kInterp : Engine::kKvm);
  }
  if (request.choice == EngineChoice::kInterp || request.counts_instructions ||
      !kvm::KvmDevice::is_processor_capable()) {
    return EnginePlan{};
  }
  Result<kvm::KvmDevice> device = open_kvm(request);
  if (!device) LOG_INFO("{}", device.error().message);
  if (!device || !device->is_real(inputs)) return EnginePlan{};
  return plan_with(std::move(*device), Engine::kKvm);
}

}  // namespace doppel
