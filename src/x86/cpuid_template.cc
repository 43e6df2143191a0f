// Processor models as feature lists.
#include "x86/cpuid_template.h"

#include <cpuid.h>

#include <array>
#include <cstring>

namespace doppel::x86 {
namespace {

using enum Feature;

// What every model has: an x86-64 processor with the system features that doppel emulates everywhere.
constexpr FeatureSet kCommon = {
    kFpu,       kVme,         kDe,        kPse,          kTsc,
    kMsr,       kPae,         kMce,       kCx8,          kApic,
    kSep,       kMtrr,        kPge,       kMca,          kCmov,
    kPat,       kPse36,       kClflush,   kMmx,          kFxsr,
    kSse,       kSse2,        kSelfSnoop, kCx16,         kPcid,
    kX2Apic,    kTscDeadline, kRdrand,    kHypervisor,   kFsgsbase,
    kTscAdjust, kSmep,        kErms,      kInvpcid,      kRdseed,
    kSmap,      kClflushopt,  kClwb,      kUmip,         kRdpid,
    kFsrm,      kLahf,        kPrefetchw, kSyscall,      kNx,
    kPage1Gb,   kRdtscp,      kLongMode,  kInvariantTsc, kFdpExceptionOnly,
    kNoFcsFds,  kSerialize,
};

// What the levels of the x86-64 psABI add to the base.
constexpr FeatureSet kLevel2 = {kSse3, kSsse3, kSse41, kSse42, kPopcnt};
// AES and PCLMULQDQ are not in the level, but on every processor that reaches it.
constexpr FeatureSet kLevel3 = {kAvx,   kAvx2,  kBmi1,     kBmi2,   kF16c,    kFma, kLzcnt,
                                kMovbe, kXsave, kXsaveopt, kXsavec, kXgetbv1, kAes, kPclmulqdq};

// Family 6, model 36H, stepping 1.
constexpr u32 kInOrderSignature = 0x00030661;
constexpr std::string_view kIntel = "GenuineIntel";

// A feature and what it needs. SDM 1 chapters 13 and 14.
struct Dependency {
  Feature feature;
  Feature prerequisite;
};
// In an order in which one pass suffices.
constexpr Dependency kDependencies[] = {
    {kXsaveopt, kXsave},
    {kXsavec, kXsave},
    {kXgetbv1, kXsave},
    {kAvx, kXsave},
    {kAvx2, kAvx},
    {kFma, kAvx},
    {kF16c, kAvx},
    {kVaes, kAvx},
    {kVaes, kAes},
    {kVpclmulqdq, kAvx},
    {kVpclmulqdq, kPclmulqdq},
    {kAvxVnni, kAvx2},
    {kTscDeadline, kApic},
    {kX2Apic, kApic},
    {kInvpcid, kPcid},
};

CpuTemplate level_template(std::string_view brand, std::initializer_list<const FeatureSet*> levels) {
  CpuTemplate result = {std::string(kIntel), std::string(brand), kInOrderSignature, kCommon};
  for (const FeatureSet* level : levels) result.features.add(*level);
  return result;
}

using Registers = std::array<u32, 4>;

Registers host_cpuid(u32 leaf) {
  Registers registers = {};
  __get_cpuid(leaf, registers.data(), &registers[1], &registers[2], &registers[3]);
  return registers;
}

std::string host_brand() {
  std::array<char, 49> text = {};
  for (u32 i = 0; i < 3; ++i) {
    const Registers registers = host_cpuid(0x80000002 + i);
    std::memcpy(text.data() + i * sizeof registers, registers.data(), sizeof registers);
  }
  return text.data();
}

CpuTemplate host_template() {
  const Registers vendor = host_cpuid(0);
  std::array<char, 13> name = {};
  std::memcpy(name.data(), &vendor[1], 4);
  std::memcpy(name.data() + 4, &vendor[3], 4);
  std::memcpy(name.data() + 8, &vendor[2], 4);

  CpuTemplate result = {name.data(), host_brand(), host_cpuid(1)[0], kCommon};
  result.features.add(kLevel3);
  for (unsigned i = 0; i < kFeatureCount; ++i) {
    const auto feature = static_cast<Feature>(i);
    if (feature_info(feature).support == FeatureSupport::kBorrowed) result.features.add(feature);
  }
  if (result.vendor == kIntel) result.features.add({kArchCapabilities, kSpecCtrl});
  return result;
}

}  // namespace

std::vector<std::string_view> cpu_template_names() { return {"host", "x86-64-v2", "x86-64-v3"}; }

std::optional<CpuTemplate> cpu_template(std::string_view name) {
  if (name == "host") return host_template();
  if (name == "x86-64-v2") return level_template("doppel x86-64-v2 processor", {&kLevel2});
  if (name == "x86-64-v3") return level_template("doppel x86-64-v3 processor", {&kLevel2, &kLevel3});
  return std::nullopt;
}

void remove_dependents(FeatureSet& features) {
  for (const Dependency& row : kDependencies) {
    if (!features.has(row.prerequisite)) features.remove(row.feature);
  }
}

}  // namespace doppel::x86
