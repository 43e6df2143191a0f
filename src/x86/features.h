// Feature: the CPUID feature bits that doppel knows, as data, and sets of them.
#pragma once

#include <array>
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
  constexpr FeatureSet() = default;
  constexpr FeatureSet(std::initializer_list<Feature> features) {
    for (const Feature feature : features) add(feature);
  }
  constexpr bool has(Feature feature) const { return (words_[word(feature)] & mask(feature)) != 0; }
  constexpr void add(Feature feature) { words_[word(feature)] |= mask(feature); }
  constexpr void remove(Feature feature) { words_[word(feature)] &= ~mask(feature); }
  constexpr void add(const FeatureSet& other) {
    for (unsigned i = 0; i < kWords; ++i) words_[i] |= other.words_[i];
  }
  constexpr void remove(const FeatureSet& other) {
    for (unsigned i = 0; i < kWords; ++i) words_[i] &= ~other.words_[i];
  }
  constexpr void intersect(const FeatureSet& other) {
    for (unsigned i = 0; i < kWords; ++i) words_[i] &= other.words_[i];
  }
  constexpr bool operator==(const FeatureSet&) const = default;

 private:
  static constexpr unsigned kWords = (kFeatureCount + 63) / 64;
  static constexpr unsigned word(Feature feature) { return static_cast<unsigned>(feature) / 64; }
  static constexpr u64 mask(Feature feature) { return u64{1} << static_cast<unsigned>(feature) % 64; }

  std::array<u64, kWords> words_ = {};
};

// What CPUID says on the processor that runs this process, read once. AVX and what depends on it is left
// out when the host's operating system does not save the upper vector halves.
const FeatureSet& host_features();

// Everything doppel can offer on a host with `host` features.
FeatureSet supported_features(const FeatureSet& host);

}  // namespace doppel::x86
