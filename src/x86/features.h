// Feature: the CPUID feature bits that doppel knows, as data, and sets of them.
#pragma once

#include <bitset>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "base/types.h"
#include "x86/features_list.h"

namespace doppel::x86 {

enum class Feature : u8 {
#define DOPPEL_FEATURE_ENUMERATOR(id, name, leaf, subleaf, reg, bit, support) id,
  DOPPEL_X86_FEATURES(DOPPEL_FEATURE_ENUMERATOR)
#undef DOPPEL_FEATURE_ENUMERATOR
      kCount
};
inline constexpr unsigned kFeatureCount = static_cast<unsigned>(Feature::kCount);

enum class CpuidRegister : u8 { kEax, kEbx, kEcx, kEdx };

// Who makes a feature work; see features_list.h.
enum class FeatureSupport : u8 { kBorrowed, kEmulated };

// Where CPUID reports a feature.
struct FeatureInfo {
  std::string_view name;
  u32 leaf;
  u32 subleaf;
  CpuidRegister reg;
  u8 bit;
  FeatureSupport support;
};

const FeatureInfo& feature_info(Feature feature);
// nullopt for a name that no row has.
std::optional<Feature> feature_by_name(std::string_view name);

// A set of features; a plain value.
class FeatureSet {
 public:
  FeatureSet() = default;
  FeatureSet(std::initializer_list<Feature> features) {
    for (Feature feature : features) add(feature);
  }
  bool has(Feature feature) const { return bits_[static_cast<unsigned>(feature)]; }
  void add(Feature feature) { bits_.set(static_cast<unsigned>(feature)); }
  void remove(Feature feature) { bits_.reset(static_cast<unsigned>(feature)); }
  void add(const FeatureSet& other) { bits_ |= other.bits_; }
  void intersect(const FeatureSet& other) { bits_ &= other.bits_; }
  bool operator==(const FeatureSet&) const = default;

 private:
  std::bitset<kFeatureCount> bits_;
};

// What CPUID says on the processor that runs this process, read once. AVX and what depends on it is left
// out when the host's operating system does not save the upper vector halves.
const FeatureSet& host_features();

// Everything doppel can offer on a host with `host` features.
FeatureSet supported_features(const FeatureSet& host);

}  // namespace doppel::x86
