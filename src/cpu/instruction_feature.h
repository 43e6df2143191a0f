// Which CPUID feature an instruction needs.
#pragma once

#include <Zydis/Zydis.h>

#include <optional>

#include "x86/features.h"

namespace doppel {

// `feature` is empty for what every x86-64 processor has. `is_known` is false for what no template ever
// offers (AVX-512, AMX, TSX, MPX, CET, XOP, FMA4, 3DNow!, SGX, VMX, SVM, Key Locker, ...).
struct FeatureRequirement {
  bool is_known;
  std::optional<x86::Feature> feature;
};

FeatureRequirement required_feature(const ZydisDecodedInstruction& instruction);

// False: the instruction raises #UD on a processor with `features`. (LZCNT and TZCNT run as BSR and BSF
// instead: configure the decoder's LZCNT and TZCNT modes from the same features. The decoder's MPX, CET and
// CLDEMOTE modes should be off, so that their hint encodings decode as the NOPs that they are.)
inline bool is_offered(const ZydisDecodedInstruction& instruction, const x86::FeatureSet& features) {
  const FeatureRequirement requirement = required_feature(instruction);
  return requirement.is_known && (!requirement.feature || features.has(*requirement.feature));
}

}  // namespace doppel
