// Deciding for an engine.
#include "machine/engine_choice.h"

#include "base/log.h"
#include "engine/jit/jit.h"
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

void add_kvm(EnginePlan& plan, kvm::KvmDevice device) {
  plan.tsc_hz = u64{device.tsc_khz()} * 1000;
  plan.removed = kvm::missing_features(device);
  plan.removed_kvm_features = kvm::hypercall_features();
  plan.kvm = std::move(device);
}

Result<EnginePlan> plan_without_kvm(const EngineRequest& request) {
  const std::string_view missing = missing_for_translator(request.host);
  if (request.choice == EngineChoice::kJit && !missing.empty()) {
    return fail("engine jit: this host's processor has no {}; use --engine interp", missing);
  }
  if (request.choice == EngineChoice::kAuto && !missing.empty()) {
    LOG_WARNING("this host's processor has no {}: the interpreter takes the translator's place", missing);
  }
  EnginePlan plan;
  plan.has_translator = missing.empty();
  const bool interprets = request.choice == EngineChoice::kInterp || !plan.has_translator;
  plan.first = interprets ? Engine::kInterp : Engine::kJit;
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

Result<DirectUse> parse_direct(std::string_view name) {
  if (name == "auto") return DirectUse::kAuto;
  if (name == "off") return DirectUse::kOff;
  if (name == "always") return DirectUse::kAlways;
  return fail_usage("--direct {}: give auto, off or always", name);
}

Result<bool> parse_check_engine(std::string_view name) {
  if (name.empty() || name == "interp") return !name.empty();
  return fail_usage("--check-engine {}: give interp", name);
}

Result<EnginePlan> plan_engines(const EngineRequest& request, Inputs& inputs) {
  EnginePlan plan = TRY(plan_without_kvm(request));
  const bool asks_for_kvm = request.choice == EngineChoice::kKvm;
  if (request.counts_instructions) {
    if (!asks_for_kvm) return plan;
    return fail_usage(
        "engine kvm: it does not count instructions; "
        "--clock instructions and --max-instructions need --engine jit or interp");
  }
  const bool may_choose = request.choice == EngineChoice::kAuto && kvm::KvmDevice::is_processor_capable();
  if (!asks_for_kvm && !may_choose && !request.is_switchable) return plan;
  Result<kvm::KvmDevice> device = open_kvm(request);
  if (!device) {
    if (asks_for_kvm) return std::unexpected(device.error());
    LOG_INFO("{}", device.error().message);
    return plan;
  }
  if (asks_for_kvm || (may_choose && device->is_real(inputs))) {
    add_kvm(plan, std::move(*device));
    plan.first = Engine::kKvm;
  } else if (request.is_switchable && device->can_offset_tsc()) {
    add_kvm(plan, std::move(*device));
  }
  return plan;
}

}  // namespace doppel
