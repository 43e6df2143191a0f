// The tables behind coverage.h.
#include "tests/differential/coverage.h"

#include <cpuid.h>

#include <algorithm>

#include "x86/registers.h"

namespace doppel::differential {
namespace {

// A CPUID feature bit; leaf 0 means every host that can run the test has it.
struct Feature {
  u32 leaf = 0;
  u8 output = 0;  // 0..3: EAX, EBX, ECX, EDX
  u8 position = 0;
  u32 subleaf = 0;
};

struct OfferedSet {
  ZydisISASet set;
  Feature feature;
};

constexpr u8 kEax = 0;
constexpr u8 kEbx = 1;
constexpr u8 kEcx = 2;
constexpr u8 kEdx = 3;

constexpr OfferedSet kOffered[] = {
    {ZYDIS_ISA_SET_I86, {}},
    {ZYDIS_ISA_SET_I186, {}},
    {ZYDIS_ISA_SET_I286PROTECTED, {}},
    {ZYDIS_ISA_SET_I286REAL, {}},
    {ZYDIS_ISA_SET_I386, {}},
    {ZYDIS_ISA_SET_I486, {}},
    {ZYDIS_ISA_SET_I486REAL, {}},
    {ZYDIS_ISA_SET_PENTIUMREAL, {}},
    {ZYDIS_ISA_SET_PENTIUMMMX, {}},
    {ZYDIS_ISA_SET_PPRO, {}},
    {ZYDIS_ISA_SET_AMD, {}},
    {ZYDIS_ISA_SET_CMOV, {}},
    {ZYDIS_ISA_SET_FCMOV, {}},
    {ZYDIS_ISA_SET_X87, {}},
    {ZYDIS_ISA_SET_FAT_NOP, {}},
    {ZYDIS_ISA_SET_PREFETCH_NOP, {}},
    {ZYDIS_ISA_SET_PAUSE, {}},
    {ZYDIS_ISA_SET_LONGMODE, {}},
    {ZYDIS_ISA_SET_LAHF, {}},
    {ZYDIS_ISA_SET_FXSAVE, {}},
    {ZYDIS_ISA_SET_FXSAVE64, {}},
    {ZYDIS_ISA_SET_CLFSH, {}},
    {ZYDIS_ISA_SET_RDPMC, {}},
    {ZYDIS_ISA_SET_RDTSCP, {}},
    {ZYDIS_ISA_SET_SMAP, {}},
    {ZYDIS_ISA_SET_INVPCID, {}},
    {ZYDIS_ISA_SET_SSE, {}},
    {ZYDIS_ISA_SET_SSEMXCSR, {}},
    {ZYDIS_ISA_SET_SSE_PREFETCH, {}},
    {ZYDIS_ISA_SET_SSE2, {}},
    {ZYDIS_ISA_SET_SSE2MMX, {}},
    {ZYDIS_ISA_SET_SSE3, {}},
    {ZYDIS_ISA_SET_SSE3X87, {}},
    {ZYDIS_ISA_SET_SSSE3, {}},
    {ZYDIS_ISA_SET_SSSE3MMX, {}},
    {ZYDIS_ISA_SET_SSE4, {}},
    {ZYDIS_ISA_SET_SSE42, {}},
    {ZYDIS_ISA_SET_POPCNT, {}},
    {ZYDIS_ISA_SET_CMPXCHG16B, {}},
    {ZYDIS_ISA_SET_XSAVE, {}},
    {ZYDIS_ISA_SET_CET, {}},
    {ZYDIS_ISA_SET_RDWRFSGS, {}},
    {ZYDIS_ISA_SET_MOVBE, {1, kEcx, 22}},
    {ZYDIS_ISA_SET_PCLMULQDQ, {1, kEcx, 1}},
    {ZYDIS_ISA_SET_AES, {1, kEcx, 25}},
    {ZYDIS_ISA_SET_AVXAES, {1, kEcx, 25}},
    {ZYDIS_ISA_SET_AVX, {1, kEcx, 28}},
    {ZYDIS_ISA_SET_F16C, {1, kEcx, 29}},
    {ZYDIS_ISA_SET_RDRAND, {1, kEcx, 30}},
    {ZYDIS_ISA_SET_FMA, {1, kEcx, 12}},
    {ZYDIS_ISA_SET_AVX2, {7, kEbx, 5}},
    {ZYDIS_ISA_SET_AVX2GATHER, {7, kEbx, 5}},
    {ZYDIS_ISA_SET_BMI1, {7, kEbx, 3}},
    {ZYDIS_ISA_SET_BMI2, {7, kEbx, 8}},
    {ZYDIS_ISA_SET_RDSEED, {7, kEbx, 18}},
    {ZYDIS_ISA_SET_ADOX_ADCX, {7, kEbx, 19}},
    {ZYDIS_ISA_SET_SHA, {7, kEbx, 29}},
    {ZYDIS_ISA_SET_RDPID, {7, kEcx, 22}},
    {ZYDIS_ISA_SET_CLFLUSHOPT, {7, kEbx, 23}},
    {ZYDIS_ISA_SET_CLWB, {7, kEbx, 24}},
    {ZYDIS_ISA_SET_GFNI, {7, kEcx, 8}},
    {ZYDIS_ISA_SET_AVX_GFNI, {7, kEcx, 8}},
    {ZYDIS_ISA_SET_VAES, {7, kEcx, 9}},
    {ZYDIS_ISA_SET_VPCLMULQDQ, {7, kEcx, 10}},
    {ZYDIS_ISA_SET_SERIALIZE, {7, kEdx, 14}},
    {ZYDIS_ISA_SET_AVX_VNNI, {7, kEax, 4, 1}},
    {ZYDIS_ISA_SET_XSAVEOPT, {0xd, kEax, 0, 1}},
    {ZYDIS_ISA_SET_XSAVEC, {0xd, kEax, 1, 1}},
    {ZYDIS_ISA_SET_LZCNT, {0x80000001, kEcx, 5}},
};

struct Skip {
  ZydisMnemonic mnemonic;
  const char* reason;
};

constexpr const char* kEntersKernel = "enters the host's kernel";
constexpr const char* kUmip = "the host's kernel emulates it (UMIP)";
constexpr const char* kFar = "far transfer: needs the host's descriptor tables";
constexpr const char* kSegment = "reads or loads descriptors of the host's tables";
constexpr const char* kIdentity = "reports what the machine is";

constexpr Skip kSkips[] = {
    {ZYDIS_MNEMONIC_SYSCALL, kEntersKernel},
    {ZYDIS_MNEMONIC_SYSENTER, kEntersKernel},
    {ZYDIS_MNEMONIC_SGDT, kUmip},
    {ZYDIS_MNEMONIC_SIDT, kUmip},
    {ZYDIS_MNEMONIC_SLDT, kUmip},
    {ZYDIS_MNEMONIC_STR, kUmip},
    {ZYDIS_MNEMONIC_SMSW, kUmip},
    {ZYDIS_MNEMONIC_IRET, kFar},
    {ZYDIS_MNEMONIC_IRETD, kFar},
    {ZYDIS_MNEMONIC_IRETQ, kFar},
    {ZYDIS_MNEMONIC_LAR, kSegment},
    {ZYDIS_MNEMONIC_LSL, kSegment},
    {ZYDIS_MNEMONIC_VERR, kSegment},
    {ZYDIS_MNEMONIC_VERW, kSegment},
    {ZYDIS_MNEMONIC_LDS, kSegment},
    {ZYDIS_MNEMONIC_LES, kSegment},
    {ZYDIS_MNEMONIC_LFS, kSegment},
    {ZYDIS_MNEMONIC_LGS, kSegment},
    {ZYDIS_MNEMONIC_LSS, kSegment},
    {ZYDIS_MNEMONIC_CPUID, kIdentity},
    {ZYDIS_MNEMONIC_XGETBV, kIdentity},
};

bool host_has(const Feature& feature) {
  if (feature.leaf == 0) return true;
  u32 outputs[4] = {};
  if (__get_cpuid_count(feature.leaf, feature.subleaf, &outputs[0], &outputs[1], &outputs[2], &outputs[3]) ==
      0)
    return false;
  return bit(outputs[feature.output], feature.position);
}

const OfferedSet* find_set(ZydisISASet set) {
  const auto* found = std::ranges::find(kOffered, set, &OfferedSet::set);
  return found == std::end(kOffered) ? nullptr : found;
}

bool is_amd_in_hypervisor() { return host_is_amd() && host_has({1, kEcx, 31}); }

// INT1 traps: its RIP is that of the next instruction (SDM 3A 6.15, APM 2 8.2.2). A hypervisor that
// intercepts #DB on AMD's processors passes on the RIP of INT1 itself.
bool has_early_rip(const Instruction& instruction) {
  return instruction.info.mnemonic == ZYDIS_MNEMONIC_INT1 && is_amd_in_hypervisor();
}

// May have to be aligned, which is checked besides the stack's own #SS.
bool is_aligned_on_stack(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.segment == ZYDIS_REGISTER_SS &&
         operand.size >= 128;
}

// The part of CET that is a no-op on processors without it. SDM 1 17.
bool is_cet_nop(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_ENDBR32 || mnemonic == ZYDIS_MNEMONIC_ENDBR64 ||
         mnemonic == ZYDIS_MNEMONIC_RDSSPD || mnemonic == ZYDIS_MNEMONIC_RDSSPQ;
}

bool loads_segment(const Instruction& instruction) {
  if (instruction.info.mnemonic != ZYDIS_MNEMONIC_MOV && instruction.info.mnemonic != ZYDIS_MNEMONIC_POP) {
    return false;
  }
  const ZydisDecodedOperand& first = instruction.operands[0];
  return first.type == ZYDIS_OPERAND_TYPE_REGISTER &&
         ZydisRegisterGetClass(first.reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

bool is_near_branch(const Instruction& instruction) {
  return instruction.info.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR ||
         instruction.info.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT;
}

u32 mask_of(ZydisRegister reg) {
  const ZydisRegister full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  return full == ZYDIS_REGISTER_NONE ? 0 : 1u << ZydisRegisterGetId(full);
}

}  // namespace

bool host_is_amd() {
  u32 max_leaf = 0;
  u32 ebx = 0;
  u32 ecx = 0;
  u32 edx = 0;
  if (__get_cpuid(0, &max_leaf, &ebx, &ecx, &edx) == 0) return false;
  return ebx == signature_AMD_ebx || ebx == signature_HYGON_ebx;
}

Offer offer_of(const Instruction& instruction) {
  const auto& info = instruction.info;
  if (find_set(info.meta.isa_set) == nullptr) return Offer::kNo;
  if (info.meta.isa_set == ZYDIS_ISA_SET_CET && !is_cet_nop(info.mnemonic)) return Offer::kNo;
  return Offer::kYes;
}

const char* skip_reason(const Instruction& instruction) {
  const auto& info = instruction.info;
  const auto* skip = std::ranges::find(kSkips, info.mnemonic, &Skip::mnemonic);
  if (skip != std::end(kSkips)) return skip->reason;
  // APM 3 "SYSEXIT": #UD in long mode. KVM emulates it for the sake of guests that move between vendors, and
  // then its check of CPL comes first.
  if (info.mnemonic == ZYDIS_MNEMONIC_SYSEXIT && is_amd_in_hypervisor())
    return "the hypervisor below this host emulates it";
  if (info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return kFar;
  if (loads_segment(instruction)) return kSegment;
  if (is_near_branch(instruction) && instruction.has(ZYDIS_ATTRIB_HAS_OPERANDSIZE)) {
    return "66 on a near branch: Intel and AMD differ";
  }
  const OfferedSet* set = find_set(info.meta.isa_set);
  if (set != nullptr && !host_has(set->feature)) return "this host does not have it";
  return nullptr;
}

u32 volatile_gprs(const Instruction& instruction) {
  switch (instruction.info.mnemonic) {
    case ZYDIS_MNEMONIC_RDTSC:
      return 1u << x86::kRax | 1u << x86::kRdx;
    case ZYDIS_MNEMONIC_RDTSCP:
      return 1u << x86::kRax | 1u << x86::kRdx | 1u << x86::kRcx;
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
    case ZYDIS_MNEMONIC_RDPID:
      return mask_of(instruction.operands[0].reg.value);
    default:
      return 0;
  }
}

u64 ignored_flags(const Instruction& instruction) {
  switch (instruction.info.mnemonic) {
    case ZYDIS_MNEMONIC_RDSEED:  // CF says whether entropy was at hand
    case ZYDIS_MNEMONIC_RDRAND:
      return x86::kFlagCf;
    default:
      return 0;
  }
}

FaultLatitude fault_latitude(const Instruction& instruction) {
  FaultLatitude latitude;
  latitude.has_early_rip = has_early_rip(instruction);
  for (const ZydisDecodedOperand& operand : instruction.all_operands()) {
    latitude.has_open_refusal |= is_aligned_on_stack(operand) && !host_is_amd();
    latitude.has_mmx_entered |= operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
                                ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_MMX;
  }
  switch (instruction.info.mnemonic) {
    case ZYDIS_MNEMONIC_FBSTP:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
      latitude.has_partial_stores = true;
      latitude.is_address_by_page = true;
      latitude.has_two_pages = true;
      break;
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
      latitude.has_two_reads = true;
      break;
    case ZYDIS_MNEMONIC_FSTP:
      latitude.has_partial_stores = instruction.operands[0].size == 80;
      break;
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD:
      latitude.has_partial_loads = true;
      break;
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
      latitude.has_two_pages = true;
      latitude.has_partial_stores = true;
      [[fallthrough]];
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
      latitude.is_address_by_page = true;
      break;
    default:
      break;
  }
  return latitude;
}

bool may_lack_misaligned_mode(const Instruction& instruction) {
  switch (instruction.info.mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
      return host_has_misaligned_mode();
    default:
      return false;
  }
}

bool host_has_misaligned_mode() { return host_has({0x80000001, kEcx, 7}); }

bool is_lock_invalid(const Instruction& instruction) {
  const bool is_control = std::ranges::any_of(instruction.visible_operands(), [](const auto& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_CONTROL;
  });
  return !is_control || !host_has({0x80000001, kEcx, 4});
}

}  // namespace doppel::differential
