// From a decoded instruction to the registers, memory and modes that it needs.
#include "engine/interp/borrowed_plan.h"

#include <algorithm>

#include "base/verify.h"
#include "cpu/instruction_feature.h"
#include "engine/interp/host_processor.h"
#include "x86/registers.h"

namespace doppel {
namespace {

using Operands = std::span<const ZydisDecodedOperand>;

// Extensions made of instructions that compute on registers and one memory operand.
constexpr ZydisISAExt kBorrowedExtensions[] = {
    ZYDIS_ISA_EXT_ADOX_ADCX, ZYDIS_ISA_EXT_AES,       ZYDIS_ISA_EXT_AVX,        ZYDIS_ISA_EXT_AVX2,
    ZYDIS_ISA_EXT_AVXAES,    ZYDIS_ISA_EXT_AVX_VNNI,  ZYDIS_ISA_EXT_BMI1,       ZYDIS_ISA_EXT_BMI2,
    ZYDIS_ISA_EXT_F16C,      ZYDIS_ISA_EXT_FMA,       ZYDIS_ISA_EXT_GFNI,       ZYDIS_ISA_EXT_MMX,
    ZYDIS_ISA_EXT_SHA,       ZYDIS_ISA_EXT_PCLMULQDQ, ZYDIS_ISA_EXT_LZCNT,      ZYDIS_ISA_EXT_SSE,
    ZYDIS_ISA_EXT_SSE2,      ZYDIS_ISA_EXT_SSE3,      ZYDIS_ISA_EXT_SSE4,       ZYDIS_ISA_EXT_SSSE3,
    ZYDIS_ISA_EXT_VAES,      ZYDIS_ISA_EXT_X87,       ZYDIS_ISA_EXT_VPCLMULQDQ,
};

// Members of those extensions that the interpreter does itself.
constexpr ZydisMnemonic kRefused[] = {
    ZYDIS_MNEMONIC_LDMXCSR,   ZYDIS_MNEMONIC_STMXCSR,    ZYDIS_MNEMONIC_VLDMXCSR, ZYDIS_MNEMONIC_VSTMXCSR,
    ZYDIS_MNEMONIC_VZEROALL,  ZYDIS_MNEMONIC_VZEROUPPER, ZYDIS_MNEMONIC_LFENCE,   ZYDIS_MNEMONIC_MFENCE,
    ZYDIS_MNEMONIC_SFENCE,    ZYDIS_MNEMONIC_FXSAVE,     ZYDIS_MNEMONIC_FXSAVE64, ZYDIS_MNEMONIC_FXRSTOR,
    ZYDIS_MNEMONIC_FXRSTOR64,
};

// Legacy vector instructions with a 16-byte operand that need no alignment. SDM 2A table 2-21.
constexpr ZydisMnemonic kUnaligned[] = {
    ZYDIS_MNEMONIC_MOVUPS,    ZYDIS_MNEMONIC_MOVUPD,    ZYDIS_MNEMONIC_MOVDQU,
    ZYDIS_MNEMONIC_LDDQU,     ZYDIS_MNEMONIC_PCMPESTRI, ZYDIS_MNEMONIC_PCMPESTRM,
    ZYDIS_MNEMONIC_PCMPISTRI, ZYDIS_MNEMONIC_PCMPISTRM, ZYDIS_MNEMONIC_MASKMOVDQU,
};

// VEX instructions that need the alignment of the whole operand. SDM 2A 2.4.1.
constexpr ZydisMnemonic kVexAligned[] = {
    ZYDIS_MNEMONIC_VMOVAPS,  ZYDIS_MNEMONIC_VMOVAPD,  ZYDIS_MNEMONIC_VMOVDQA,   ZYDIS_MNEMONIC_VMOVNTPS,
    ZYDIS_MNEMONIC_VMOVNTPD, ZYDIS_MNEMONIC_VMOVNTDQ, ZYDIS_MNEMONIC_VMOVNTDQA,
};

// Conversions between MMX and vector registers: Zydis gives them no exception class.
constexpr ZydisMnemonic kMmxConversions[] = {
    ZYDIS_MNEMONIC_CVTPI2PS,  ZYDIS_MNEMONIC_CVTPI2PD, ZYDIS_MNEMONIC_CVTPS2PI,
    ZYDIS_MNEMONIC_CVTTPS2PI, ZYDIS_MNEMONIC_CVTPD2PI, ZYDIS_MNEMONIC_CVTTPD2PI,
};

// What the x87 control instructions do beside computing. SDM 1 8.1.8 and 8.3.11.
struct X87ControlRow {
  ZydisMnemonic mnemonic;
  bool is_waiting;
  X87Image image;
  X87Pointers pointers;
};

constexpr X87ControlRow kX87Control[] = {
    {ZYDIS_MNEMONIC_FNINIT, false, X87Image::kNone, X87Pointers::kCleared},
    {ZYDIS_MNEMONIC_FNCLEX, false, X87Image::kNone, X87Pointers::kKept},
    {ZYDIS_MNEMONIC_FNSTCW, false, X87Image::kNone, X87Pointers::kKept},
    {ZYDIS_MNEMONIC_FNSTSW, false, X87Image::kNone, X87Pointers::kKept},
    {ZYDIS_MNEMONIC_FNSTENV, false, X87Image::kStore, X87Pointers::kKept},
    {ZYDIS_MNEMONIC_FNSAVE, false, X87Image::kStore, X87Pointers::kCleared},
    {ZYDIS_MNEMONIC_FLDENV, true, X87Image::kLoad, X87Pointers::kLoaded},
    {ZYDIS_MNEMONIC_FRSTOR, true, X87Image::kLoad, X87Pointers::kLoaded},
    {ZYDIS_MNEMONIC_FLDCW, true, X87Image::kNone, X87Pointers::kKept},
    {ZYDIS_MNEMONIC_FWAIT, true, X87Image::kNone, X87Pointers::kKept},
    {ZYDIS_MNEMONIC_FENI8087_NOP, false, X87Image::kNone, X87Pointers::kKept},
    {ZYDIS_MNEMONIC_FDISI8087_NOP, false, X87Image::kNone, X87Pointers::kKept},
    {ZYDIS_MNEMONIC_FSETPM287_NOP, false, X87Image::kNone, X87Pointers::kKept},
};

template <class Table>
bool contains(const Table& table, auto value) {
  return std::ranges::find(table, value) != std::end(table);
}

bool is_masked_move(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
      return true;
    default:
      return false;
  }
}

bool is_refused(const ZydisDecodedInstruction& instruction) {
  const bool is_host_encoding = instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
                                instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  if (!is_host_encoding || (instruction.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0) return true;
  if (!contains(kBorrowedExtensions, instruction.meta.isa_ext)) return true;
  if (instruction.meta.category == ZYDIS_CATEGORY_PREFETCH) return true;
  if (contains(kRefused, instruction.mnemonic)) return true;
  return !is_offered(instruction, x86::host_features());
}

// The number under which the register is loaded: AH..BH lie in RAX..RBX.
unsigned gpr_number(ZydisRegister reg) {
  const unsigned id = static_cast<u8>(ZydisRegisterGetId(reg));
  if (ZydisRegisterGetClass(reg) != ZYDIS_REGCLASS_GPR8 || id < 4) return id;
  return id - 4;
}

void use_register(const ZydisDecodedOperand& operand, unsigned number, u16& used, u16& written) {
  used |= static_cast<u16>(1u << number);
  if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) written |= static_cast<u16>(1u << number);
}

bool plan_register(BorrowedPlan& plan, const ZydisDecodedOperand& operand) {
  const ZydisRegister reg = operand.reg.value;
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      use_register(operand, gpr_number(reg), plan.gprs_used, plan.gprs_written);
      return true;
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM: {
      const unsigned number = static_cast<u8>(ZydisRegisterGetId(reg));
      if (number >= 16) return false;
      use_register(operand, number, plan.vectors_used, plan.vectors_written);
      return true;
    }
    case ZYDIS_REGCLASS_MMX:
      plan.traits.uses_mmx = true;
      return true;
    case ZYDIS_REGCLASS_X87:
      plan.traits.uses_x87 = true;
      return true;
    case ZYDIS_REGCLASS_FLAGS:
      return true;
    default:
      return reg == ZYDIS_REGISTER_X87CONTROL || reg == ZYDIS_REGISTER_X87STATUS ||
             reg == ZYDIS_REGISTER_X87TAG || reg == ZYDIS_REGISTER_MXCSR;
  }
}

bool plan_memory(BorrowedPlan& plan, const ZydisDecodedOperand& operand) {
  if (operand.mem.type != ZYDIS_MEMOP_TYPE_MEM || plan.traits.memory_size != 0) return false;
  if (operand.visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT && !plan.traits.is_masked) return false;
  plan.traits.memory_size = static_cast<u16>(operand.size / 8);
  plan.traits.reads_memory = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
  plan.traits.writes_memory = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  return plan.traits.memory_size != 0;
}

bool plan_operands(BorrowedPlan& plan, Operands operands) {
  for (const ZydisDecodedOperand& operand : operands) {
    switch (operand.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER:
        if (!plan_register(plan, operand)) return false;
        break;
      case ZYDIS_OPERAND_TYPE_MEMORY:
        if (!plan_memory(plan, operand)) return false;
        break;
      case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        break;
      default:
        return false;
    }
  }
  return true;
}

void plan_flags(BorrowedPlan& plan, const ZydisDecodedInstruction& instruction) {
  const ZydisAccessedFlags* flags = instruction.cpu_flags;
  if (flags == nullptr) return;
  const u64 written = flags->modified | flags->set_0 | flags->set_1 | flags->undefined;
  plan.traits.reads_flags = (flags->tested & x86::kArithmeticFlags) != 0;
  plan.traits.writes_flags = (written & x86::kArithmeticFlags) != 0;
  // An undefined flag may keep its old value, which must be the guest's.
  const u64 defined = written & ~u64{flags->undefined} & x86::kArithmeticFlags;
  const bool replaces_all = defined == x86::kArithmeticFlags;
  plan.loads_flags = plan.traits.reads_flags || (plan.traits.writes_flags && !replaces_all);
}

void plan_x87(BorrowedPlan& plan, const ZydisDecodedInstruction& instruction) {
  BorrowedStub& traits = plan.traits;
  const auto category = instruction.meta.category;
  if (category == ZYDIS_CATEGORY_X87_ALU || category == ZYDIS_CATEGORY_FCMOV) traits.uses_x87 = true;
  // CVTPI2PS and CVTPI2PD from memory name no MMX register and leave the x87 unit alone.
  if (instruction.mnemonic == ZYDIS_MNEMONIC_EMMS) traits.uses_mmx = true;
  traits.waits_x87 = traits.uses_x87 || traits.uses_mmx;
  if (!traits.uses_x87) return;
  traits.x87_pointers = X87Pointers::kUpdated;
  const auto* row = std::ranges::find(kX87Control, instruction.mnemonic, &X87ControlRow::mnemonic);
  if (row != std::end(kX87Control)) {
    traits.waits_x87 = row->is_waiting;
    traits.x87_image = row->image;
    traits.x87_pointers = row->pointers;
  } else if (traits.writes_memory) {
    traits.reads_memory = true;
  }
}

bool raises_simd(const ZydisDecodedInstruction& instruction) {
  switch (instruction.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_SSE2:
    case ZYDIS_EXCEPTION_CLASS_SSE3:
    case ZYDIS_EXCEPTION_CLASS_AVX2:
    case ZYDIS_EXCEPTION_CLASS_AVX3:
    case ZYDIS_EXCEPTION_CLASS_AVX11:
      return true;
    default:
      return contains(kMmxConversions, instruction.mnemonic);
  }
}

// AMD's processors do not check the operand of the SHA instructions. They run as themselves, so what holds is
// what the host does.
bool is_unaligned(const ZydisDecodedInstruction& instruction) {
  if (instruction.meta.isa_ext == ZYDIS_ISA_EXT_SHA) return host_is_amd();
  return contains(kUnaligned, instruction.mnemonic);
}

void plan_vectors(BorrowedPlan& plan, const ZydisDecodedInstruction& instruction) {
  BorrowedStub& traits = plan.traits;
  traits.is_vex = instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  traits.may_raise_simd = raises_simd(instruction);
  // CVTSD2SI and its kin from memory name no vector register, but are vector instructions.
  if (plan.vectors_used == 0 && !traits.may_raise_simd) return;
  traits.uses_avx = traits.is_vex;
  traits.uses_sse = !traits.is_vex;
  if (traits.is_vex) {
    if (contains(kVexAligned, instruction.mnemonic)) traits.alignment = static_cast<u8>(traits.memory_size);
  } else if (traits.memory_size == 16 && !is_unaligned(instruction)) {
    traits.alignment = 16;
  }
}

// The mask is the second operand of every masked move; the element size is in the mnemonic.
void plan_mask(BorrowedPlan& plan, const ZydisDecodedInstruction& instruction, Operands operands) {
  plan.traits.is_masked = is_masked_move(instruction.mnemonic);
  if (!plan.traits.is_masked) return;
  plan.traits.mask_register = static_cast<u8>(ZydisRegisterGetId(operands[1].reg.value));
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
      plan.traits.mask_element_size = 4;
      break;
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
      plan.traits.mask_element_size = 8;
      break;
    default:
      plan.traits.mask_element_size = 1;
      break;
  }
}

// The first of `candidates` that is not in `taken`. The instructions name at most four general registers, so
// the lists below never run out.
unsigned pick(std::span<const u8> candidates, u16& taken) {
  const auto chosen = std::ranges::find_if(candidates, [&](u8 number) { return (taken >> number & 1) == 0; });
  VERIFY(chosen != candidates.end());
  taken |= static_cast<u16>(1u << *chosen);
  return *chosen;
}

// Host registers that the instruction does not name. Those inside the instruction must need no REX prefix,
// which would turn AH..BH into SPL..DIL, and [RBP], [RSP] have longer encodings.
void choose_registers(BorrowedPlan& plan, bool has_implicit_rdi) {
  static constexpr u8 kForMemory[] = {x86::kRsi, x86::kRdi, x86::kRax, x86::kRcx, x86::kRdx, x86::kRbx};
  static constexpr u8 kForRsp[] = {x86::kRax, x86::kRcx, x86::kRdx, x86::kRsi, x86::kRdi, x86::kRbx};
  static constexpr u8 kForState[] = {x86::kRdi, x86::kRsi, x86::kR8,  x86::kR9, x86::kR10,
                                     x86::kR11, x86::kRax, x86::kRcx, x86::kRdx};
  u16 taken = plan.gprs_used;
  if (has_implicit_rdi) {
    plan.memory_register = x86::kRdi;
    taken |= 1u << x86::kRdi;
  } else {
    plan.memory_register = static_cast<u8>(pick(kForMemory, taken));
  }
  if ((plan.gprs_used >> x86::kRsp & 1) != 0) plan.rsp_substitute = static_cast<u8>(pick(kForRsp, taken));
  plan.state_register = static_cast<u8>(pick(kForState, taken));
}

bool has_implicit_memory(Operands operands) {
  return std::ranges::any_of(operands, [](const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
           operand.visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT;
  });
}

}  // namespace

std::optional<BorrowedPlan> plan_borrowed(const ZydisDecodedInstruction& instruction, Operands operands,
                                          std::span<const u8> bytes) {
  if (is_refused(instruction)) return std::nullopt;
  BorrowedPlan plan;
  plan_mask(plan, instruction, operands);
  if (!plan_operands(plan, operands)) return std::nullopt;
  plan_flags(plan, instruction);
  plan_x87(plan, instruction);
  plan_vectors(plan, instruction);
  choose_registers(plan, has_implicit_memory(operands));
  plan.key = encode_for_host(instruction, operands, bytes, x86::kRax, x86::kRsp);
  plan.instruction = encode_for_host(instruction, operands, bytes, plan.memory_register, plan.rsp_substitute);
  return plan;
}

}  // namespace doppel
