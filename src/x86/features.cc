// The feature table and what the host offers.
#include "x86/features.h"

#include <cpuid.h>

#include <array>

namespace doppel::x86 {
namespace {

constexpr auto kTable = [] {
  using enum CpuidRegister;
  using enum FeatureSupport;
  return std::array<FeatureInfo, kFeatureCount>{{
#define DOPPEL_FEATURE_ROW(id, name, leaf, subleaf, reg, bit, support) \
  {name, leaf, subleaf, reg, bit, support},
      DOPPEL_X86_FEATURES(DOPPEL_FEATURE_ROW)
#undef DOPPEL_FEATURE_ROW
  }};
}();

// Features that use the VEX prefix with vector registers.
constexpr Feature kNeedAvx[] = {Feature::kAvx,  Feature::kAvx2,       Feature::kFma,    Feature::kF16c,
                                Feature::kVaes, Feature::kVpclmulqdq, Feature::kAvxVnni};

bool host_has_bit(const FeatureInfo& info) {
  std::array<u32, 4> registers = {};
  if (__get_cpuid_count(info.leaf, info.subleaf, registers.data(), &registers[1], &registers[2],
                        &registers[3]) == 0) {
    return false;
  }
  return bit(registers[static_cast<unsigned>(info.reg)], info.bit);
}

// CPUID.1:ECX.OSXSAVE, then XCR0 bits 1 and 2. SDM 1 14.3.
bool host_saves_avx_state() {
  u32 eax = 0;
  u32 ebx = 0;
  u32 ecx = 0;
  u32 edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || !bit(ecx, 27)) return false;
  u32 low = 0;
  u32 high = 0;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & 6) == 6;
}

FeatureSet read_host_features() {
  FeatureSet result;
  for (unsigned i = 0; i < kFeatureCount; ++i) {
    if (host_has_bit(kTable[i])) result.add(static_cast<Feature>(i));
  }
  if (!host_saves_avx_state()) {
    for (Feature feature : kNeedAvx) result.remove(feature);
  }
  return result;
}

}  // namespace

const FeatureInfo& feature_info(Feature feature) { return kTable[static_cast<unsigned>(feature)]; }

std::optional<Feature> feature_by_name(std::string_view name) {
  for (unsigned i = 0; i < kFeatureCount; ++i) {
    if (kTable[i].name == name) return static_cast<Feature>(i);
  }
  return std::nullopt;
}

const FeatureSet& host_features() {
  static const FeatureSet kFeatures = read_host_features();
  return kFeatures;
}

FeatureSet supported_features(const FeatureSet& host) {
  FeatureSet result = host;
  for (unsigned i = 0; i < kFeatureCount; ++i) {
    const auto feature = static_cast<Feature>(i);
    if (kTable[i].support == FeatureSupport::kEmulated) result.add(feature);
  }
  return result;
}

}  // namespace doppel::x86
