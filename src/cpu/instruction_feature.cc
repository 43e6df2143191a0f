// Zydis instruction-set names as CPUID features.
#include "cpu/instruction_feature.h"

namespace doppel {
namespace {

using x86::Feature;

constexpr FeatureRequirement kBase = {true, std::nullopt};
constexpr FeatureRequirement kNever = {false, std::nullopt};

constexpr FeatureRequirement need(Feature feature) { return {true, feature}; }

// Extensions whose instructions all need the one feature.
struct ExtensionRow {
  ZydisISAExt extension;
  Feature feature;
};

constexpr ExtensionRow kExtensions[] = {
    {ZYDIS_ISA_EXT_ADOX_ADCX, Feature::kAdx},
    {ZYDIS_ISA_EXT_AES, Feature::kAes},
    {ZYDIS_ISA_EXT_AVX2, Feature::kAvx2},
    {ZYDIS_ISA_EXT_AVX2GATHER, Feature::kAvx2},
    {ZYDIS_ISA_EXT_AVXAES, Feature::kAes},
    {ZYDIS_ISA_EXT_AVX_VNNI, Feature::kAvxVnni},
    {ZYDIS_ISA_EXT_BMI1, Feature::kBmi1},
    {ZYDIS_ISA_EXT_BMI2, Feature::kBmi2},
    {ZYDIS_ISA_EXT_CLFLUSHOPT, Feature::kClflushopt},
    {ZYDIS_ISA_EXT_CLFSH, Feature::kClflush},
    {ZYDIS_ISA_EXT_CLWB, Feature::kClwb},
    {ZYDIS_ISA_EXT_F16C, Feature::kF16c},
    {ZYDIS_ISA_EXT_FMA, Feature::kFma},
    {ZYDIS_ISA_EXT_GFNI, Feature::kGfni},
    {ZYDIS_ISA_EXT_INVPCID, Feature::kInvpcid},
    {ZYDIS_ISA_EXT_LZCNT, Feature::kLzcnt},
    {ZYDIS_ISA_EXT_MMX, Feature::kMmx},
    {ZYDIS_ISA_EXT_MONITOR, Feature::kMonitor},
    {ZYDIS_ISA_EXT_MOVBE, Feature::kMovbe},
    {ZYDIS_ISA_EXT_PCLMULQDQ, Feature::kPclmulqdq},
    {ZYDIS_ISA_EXT_RDPID, Feature::kRdpid},
    {ZYDIS_ISA_EXT_RDRAND, Feature::kRdrand},
    {ZYDIS_ISA_EXT_RDSEED, Feature::kRdseed},
    {ZYDIS_ISA_EXT_RDTSCP, Feature::kRdtscp},
    {ZYDIS_ISA_EXT_RDWRFSGS, Feature::kFsgsbase},
    {ZYDIS_ISA_EXT_SERIALIZE, Feature::kSerialize},
    {ZYDIS_ISA_EXT_SHA, Feature::kSha},
    {ZYDIS_ISA_EXT_SMAP, Feature::kSmap},
    {ZYDIS_ISA_EXT_SSE2, Feature::kSse2},
    {ZYDIS_ISA_EXT_SSE3, Feature::kSse3},
    {ZYDIS_ISA_EXT_SSSE3, Feature::kSsse3},
    {ZYDIS_ISA_EXT_VAES, Feature::kVaes},
    {ZYDIS_ISA_EXT_VPCLMULQDQ, Feature::kVpclmulqdq},
    {ZYDIS_ISA_EXT_X87, Feature::kFpu},
    {ZYDIS_ISA_EXT_XSAVE, Feature::kXsave},
    {ZYDIS_ISA_EXT_XSAVEC, Feature::kXsavec},
    {ZYDIS_ISA_EXT_XSAVEOPT, Feature::kXsaveopt},
};

FeatureRequirement base_requirement(const ZydisDecodedInstruction& instruction) {
  switch (instruction.meta.isa_set) {
    case ZYDIS_ISA_SET_CMOV:
      return need(Feature::kCmov);
    case ZYDIS_ISA_SET_CMPXCHG16B:
      return need(Feature::kCx16);
    default:
      return kBase;
  }
}

FeatureRequirement sse_requirement(const ZydisDecodedInstruction& instruction) {
  switch (instruction.meta.isa_set) {
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64:
      return need(Feature::kFxsr);
    case ZYDIS_ISA_SET_POPCNT:
      return need(Feature::kPopcnt);
    case ZYDIS_ISA_SET_SSE4:
      return need(Feature::kSse41);
    case ZYDIS_ISA_SET_SSE42:
      return need(Feature::kSse42);
    default:
      return need(Feature::kSse);
  }
}

}  // namespace

FeatureRequirement required_feature(const ZydisDecodedInstruction& instruction) {
  switch (instruction.meta.isa_ext) {
    case ZYDIS_ISA_EXT_BASE:
    case ZYDIS_ISA_EXT_LONGMODE:
      return base_requirement(instruction);
    case ZYDIS_ISA_EXT_PAUSE:
    case ZYDIS_ISA_EXT_CLDEMOTE:
    case ZYDIS_ISA_EXT_PREFETCHWT1:
    case ZYDIS_ISA_EXT_AMD3DNOW_PREFETCH:
      return kBase;  // hints: never #UD
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE4:
      return sse_requirement(instruction);
    case ZYDIS_ISA_EXT_AVX:
      return need(instruction.mnemonic == ZYDIS_MNEMONIC_VPCLMULQDQ ? Feature::kPclmulqdq : Feature::kAvx);
    default:
      break;
  }
  for (const ExtensionRow& row : kExtensions) {
    if (row.extension == instruction.meta.isa_ext) return need(row.feature);
  }
  return kNever;
}

}  // namespace doppel
