// The translator engine: guest code as host code, on the host's own registers.
#pragma once

#include <memory>

#include "base/result.h"
#include "cpu/translated_code.h"
#include "engine/jit/profile_observer.h"
#include "x86/features.h"

namespace doppel {

class TranslationStore;

struct TranslatorConfig {
  x86::FeatureSet features;  // that the guest's CPUID offers
  u64 cache_bytes = 32 * kMiB;
  std::shared_ptr<TranslationStore> store = nullptr;  // translations to reuse, and to add to
  bool counts_instructions = false;
  // For tests: short blocks, and none that leads to the next by itself.
  unsigned block_instructions = 64;
  bool links_blocks = true;
  bool keeps_map = false;  // locate() tells instructions apart
  std::vector<TranslationObserver*> observers = {};
};

// What translated code is made of and this processor lacks: AVX or BMI2; empty: nothing.
std::string_view missing_for_translator(const x86::FeatureSet& host);

// Fails where the host's processor lacks something.
Result<std::unique_ptr<TranslatedCode>> create_translator(const TranslatorConfig& config);

}  // namespace doppel
