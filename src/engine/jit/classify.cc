// Which instructions run as they are, and which do not.
#include "engine/jit/classify.h"

#include <algorithm>

#include "cpu/instruction_feature.h"
#include "x86/registers.h"

namespace doppel::jit {
namespace {

using Instruction = ZydisDecodedInstruction;

// Beside those with an extension or a category of their own.
constexpr ZydisMnemonic kPlainIntegers[] = {
    ZYDIS_MNEMONIC_ADC,     ZYDIS_MNEMONIC_ADD,        ZYDIS_MNEMONIC_AND,       ZYDIS_MNEMONIC_BSF,
    ZYDIS_MNEMONIC_BSR,     ZYDIS_MNEMONIC_BSWAP,      ZYDIS_MNEMONIC_BT,        ZYDIS_MNEMONIC_BTC,
    ZYDIS_MNEMONIC_BTR,     ZYDIS_MNEMONIC_BTS,        ZYDIS_MNEMONIC_CBW,       ZYDIS_MNEMONIC_CDQ,
    ZYDIS_MNEMONIC_CDQE,    ZYDIS_MNEMONIC_CLC,        ZYDIS_MNEMONIC_CMC,       ZYDIS_MNEMONIC_CMP,
    ZYDIS_MNEMONIC_CMPXCHG, ZYDIS_MNEMONIC_CMPXCHG16B, ZYDIS_MNEMONIC_CMPXCHG8B, ZYDIS_MNEMONIC_CQO,
    ZYDIS_MNEMONIC_CRC32,   ZYDIS_MNEMONIC_CWD,        ZYDIS_MNEMONIC_CWDE,      ZYDIS_MNEMONIC_DEC,
    ZYDIS_MNEMONIC_DIV,     ZYDIS_MNEMONIC_IDIV,       ZYDIS_MNEMONIC_IMUL,      ZYDIS_MNEMONIC_INC,
    ZYDIS_MNEMONIC_LAHF,    ZYDIS_MNEMONIC_LFENCE,     ZYDIS_MNEMONIC_LZCNT,     ZYDIS_MNEMONIC_MFENCE,
    ZYDIS_MNEMONIC_MOV,     ZYDIS_MNEMONIC_MOVBE,      ZYDIS_MNEMONIC_MOVNTI,    ZYDIS_MNEMONIC_MOVSX,
    ZYDIS_MNEMONIC_MOVSXD,  ZYDIS_MNEMONIC_MOVZX,      ZYDIS_MNEMONIC_MUL,       ZYDIS_MNEMONIC_NEG,
    ZYDIS_MNEMONIC_NOT,     ZYDIS_MNEMONIC_OR,         ZYDIS_MNEMONIC_POPCNT,    ZYDIS_MNEMONIC_RCL,
    ZYDIS_MNEMONIC_RCR,     ZYDIS_MNEMONIC_ROL,        ZYDIS_MNEMONIC_ROR,       ZYDIS_MNEMONIC_SAHF,
    ZYDIS_MNEMONIC_SAR,     ZYDIS_MNEMONIC_SBB,        ZYDIS_MNEMONIC_SFENCE,    ZYDIS_MNEMONIC_SHL,
    ZYDIS_MNEMONIC_SHLD,    ZYDIS_MNEMONIC_SHR,        ZYDIS_MNEMONIC_SHRD,      ZYDIS_MNEMONIC_STC,
    ZYDIS_MNEMONIC_SUB,     ZYDIS_MNEMONIC_TEST,       ZYDIS_MNEMONIC_TZCNT,     ZYDIS_MNEMONIC_XADD,
    ZYDIS_MNEMONIC_XCHG,    ZYDIS_MNEMONIC_XOR,
};

bool has_based_segment(const ZydisDecodedOperand& operand) {
  return operand.mem.segment == ZYDIS_REGISTER_FS || operand.mem.segment == ZYDIS_REGISTER_GS;
}

bool is_plain_integer(const Instruction& instruction) {
  if (std::ranges::find(kPlainIntegers, instruction.mnemonic) != std::end(kPlainIntegers)) return true;
  const ZydisISAExt extension = instruction.meta.isa_ext;
  if (extension == ZYDIS_ISA_EXT_BMI1 || extension == ZYDIS_ISA_EXT_BMI2 ||
      extension == ZYDIS_ISA_EXT_ADOX_ADCX) {
    return true;
  }
  return instruction.meta.category == ZYDIS_CATEGORY_CMOV ||
         instruction.meta.category == ZYDIS_CATEGORY_SETCC;
}

// Vector instructions that are not what their extension suggests, or not for us.
bool is_excluded_vector(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_STMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_VSTMXCSR:
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

bool is_vector_extension(ZydisISAExt extension) {
  switch (extension) {
    case ZYDIS_ISA_EXT_AES:
    case ZYDIS_ISA_EXT_AVX:
    case ZYDIS_ISA_EXT_AVX2:
    case ZYDIS_ISA_EXT_AVXAES:
    case ZYDIS_ISA_EXT_F16C:
    case ZYDIS_ISA_EXT_FMA:
    case ZYDIS_ISA_EXT_GFNI:
    case ZYDIS_ISA_EXT_SHA:
    case ZYDIS_ISA_EXT_PCLMULQDQ:
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE2:
    case ZYDIS_ISA_EXT_SSE3:
    case ZYDIS_ISA_EXT_SSE4:
    case ZYDIS_ISA_EXT_SSSE3:
    case ZYDIS_ISA_EXT_VAES:
    case ZYDIS_ISA_EXT_VPCLMULQDQ:
      return true;
    default:
      return false;
  }
}

bool is_gather(const Instruction& instruction) {
  return instruction.meta.category == ZYDIS_CATEGORY_AVX2GATHER ||
         instruction.meta.category == ZYDIS_CATEGORY_GATHER;
}

// By ModRM, or by an offset without it (MOV).
bool is_encoded_memory(const ZydisDecodedOperand& operand) {
  return operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
         operand.encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64;
}

// Every operand is in a register that translated code has, an immediate, or the one redirected operand.
bool has_plain_operands(const Decoded& decoded) {
  unsigned memory = 0;
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    const bool is_hidden = operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
    switch (operand.type) {
      case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        break;
      case ZYDIS_OPERAND_TYPE_MEMORY:
        if (!is_encoded_memory(operand) || ++memory > 1) return false;
        if (operand.mem.type != ZYDIS_MEMOP_TYPE_MEM) return false;
        break;
      case ZYDIS_OPERAND_TYPE_REGISTER: {
        const ZydisRegisterClass kind = ZydisRegisterGetClass(operand.reg.value);
        if (is_general(operand.reg.value)) {
          if (is_hidden && guest_number(operand.reg.value) == x86::kRsp) return false;
          break;
        }
        if (kind == ZYDIS_REGCLASS_FLAGS || operand.reg.value == ZYDIS_REGISTER_MXCSR) break;
        if (kind != ZYDIS_REGCLASS_XMM && kind != ZYDIS_REGCLASS_YMM) return false;
        break;
      }
      default:
        return false;
    }
  }
  return true;
}

// AH to BH cannot be named together with a register that needs REX: RSP's and RCX's places do, R12 upwards
// cannot be named beside them anyway. RCX can be copied to its own number.
bool has_impossible_high_byte(const Decoded& decoded) {
  bool has_high = false;
  bool has_rsp = false;
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || !is_general(operand.reg.value)) continue;
    if (operand.visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT) continue;
    has_high |= is_high_byte(operand.reg.value);
    has_rsp |= guest_number(operand.reg.value) == x86::kRsp;
  }
  return has_high && has_rsp;
}

// Bit tests with a bit number in a register reach beyond their memory operand.
bool is_bit_string(const Decoded& decoded) {
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
      return memory_operand(decoded) != nullptr && decoded.operand(1).type == ZYDIS_OPERAND_TYPE_REGISTER;
    default:
      return false;
  }
}

// With a 16-bit operand the interpreter does it, and with a 32-bit address in a segment with a base, as the
// bit number's part is added before the base.
Classified classify_bit_string(const Decoded& decoded) {
  const bool is_whole = decoded.instruction.address_width == 64 || !has_based_segment(decoded.operand(0));
  return {.kind = decoded.operand(0).size >= 32 && is_whole ? Kind::kBitString : Kind::kInterpret};
}

Classified classify_plain(const Decoded& decoded) {
  const Instruction& instruction = decoded.instruction;
  if (!has_plain_operands(decoded) || has_impossible_high_byte(decoded)) return {};
  if (is_bit_string(decoded)) return classify_bit_string(decoded);
  if (instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
      instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
    if (is_plain_integer(instruction)) {
      const bool divides =
          instruction.mnemonic == ZYDIS_MNEMONIC_DIV || instruction.mnemonic == ZYDIS_MNEMONIC_IDIV;
      return {.kind = Kind::kPlain,
              .may_fault = divides || instruction.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B};
    }
    if (is_vector_extension(instruction.meta.isa_ext) && !is_excluded_vector(instruction.mnemonic) &&
        !is_gather(instruction)) {
      const bool is_vex = instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
      return {.kind = Kind::kPlain,
              .vectors = is_vex ? Vectors::kAvx : Vectors::kSse,
              .may_fault = memory_operand(decoded) != nullptr};
    }
  }
  return {};
}

// The interpreter's: they load or store everything, or clear the pointers.
bool is_x87_image(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNINIT:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FRSTOR:
      return true;
    default:
      return false;
  }
}

// Control instructions leave the pointers alone. SDM 1 8.1.8.
bool keeps_x87_pointer(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FNSTSW:
    case ZYDIS_MNEMONIC_FSETPM287_NOP:
    case ZYDIS_MNEMONIC_FWAIT:
      return true;
    default:
      return false;
  }
}

// Operands of x87 and MMX instructions: their own registers, and what plain ones have.
bool has_x87_operands(const Decoded& decoded) {
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
        (operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM || operand.mem.type != ZYDIS_MEMOP_TYPE_MEM)) {
      return false;
    }
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegisterClass kind = ZydisRegisterGetClass(operand.reg.value);
    if (kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM) return false;
  }
  return true;
}

Classified classify_x87(const Decoded& decoded) {
  const Instruction& instruction = decoded.instruction;
  if (instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || !has_x87_operands(decoded)) return {};
  if (instruction.meta.isa_ext == ZYDIS_ISA_EXT_MMX) return {.kind = Kind::kPlain, .vectors = Vectors::kX87};
  if (is_x87_image(instruction.mnemonic)) return {};
  if (instruction.mnemonic == ZYDIS_MNEMONIC_FLDCW)
    return {.kind = Kind::kLoadX87Control, .vectors = Vectors::kX87};
  return {.kind = Kind::kPlain,
          .vectors = Vectors::kX87,
          .sets_pointer = !keeps_x87_pointer(instruction.mnemonic)};
}

// Near branches; with an operand-size prefix they are rare, and AMD's of 64-bit code differ.
Kind classify_branch(const Decoded& decoded) {
  const Instruction& instruction = decoded.instruction;
  if (instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ||
      (instruction.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0) {
    return Kind::kInterpret;
  }
  const bool is_relative = decoded.operand(0).type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
      return is_relative ? Kind::kJump : Kind::kJumpIndirect;
    case ZYDIS_MNEMONIC_CALL:
      return is_relative ? Kind::kCall : Kind::kCallIndirect;
    case ZYDIS_MNEMONIC_RET:
      return Kind::kReturn;
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ:
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
      return instruction.address_width != 16 ? Kind::kLoop : Kind::kInterpret;
    default:
      return instruction.meta.category == ZYDIS_CATEGORY_COND_BR ? Kind::kJumpIf : Kind::kInterpret;
  }
}

Kind classify_stack(const Decoded& decoded) {
  if (decoded.instruction.operand_width != (is_32bit(decoded) ? 32 : 64)) return Kind::kInterpret;
  const ZydisDecodedOperand& operand = decoded.operand(0);
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
      if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && !is_general(operand.reg.value))
        return Kind::kInterpret;
      return Kind::kPush;
    case ZYDIS_MNEMONIC_POP:
      return operand.type == ZYDIS_OPERAND_TYPE_REGISTER && is_general(operand.reg.value) ? Kind::kPop
                                                                                          : Kind::kInterpret;
    case ZYDIS_MNEMONIC_LEAVE:
      return Kind::kLeave;
    default:
      return Kind::kInterpret;
  }
}

Kind classify_system(const Decoded& decoded) {
  switch (decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CLD:
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
      return Kind::kFlags;
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
      return Kind::kFlags;
    case ZYDIS_MNEMONIC_CLAC:
    case ZYDIS_MNEMONIC_STAC:
      return Kind::kAccessFlag;
    case ZYDIS_MNEMONIC_SWAPGS:
      return Kind::kSwapGs;
    case ZYDIS_MNEMONIC_SYSCALL:
      return Kind::kSystemCall;
    case ZYDIS_MNEMONIC_SYSRET:
      return decoded.instruction.operand_width == 64 ? Kind::kSystemReturn : Kind::kInterpret;
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
      return Kind::kReadTsc;
    case ZYDIS_MNEMONIC_RDPID:
      return Kind::kReadPid;
    case ZYDIS_MNEMONIC_RDFSBASE:
    case ZYDIS_MNEMONIC_RDGSBASE:
      return Kind::kReadBase;
    case ZYDIS_MNEMONIC_SERIALIZE:
      return Kind::kSerialize;
    case ZYDIS_MNEMONIC_MOV: {
      const ZydisRegister from = decoded.operand(1).reg.value;
      const bool is_control = decoded.operand(1).type == ZYDIS_OPERAND_TYPE_REGISTER &&
                              (from == ZYDIS_REGISTER_CR2 || from == ZYDIS_REGISTER_CR3);
      return is_control ? Kind::kReadControl : Kind::kInterpret;
    }
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
    case ZYDIS_MNEMONIC_STOSW: {
      const bool is_string = decoded.instruction.meta.category == ZYDIS_CATEGORY_STRINGOP;
      const bool has_segment = (decoded.instruction.attributes & ZYDIS_ATTRIB_HAS_SEGMENT) != 0;
      const bool is_plain =
          is_string && !has_segment && decoded.instruction.address_width == (is_32bit(decoded) ? 32 : 64);
      return is_plain ? Kind::kString : Kind::kInterpret;
    }
    default:
      return Kind::kInterpret;
  }
}

// VEX.W and the fourth bit of a register's number mean nothing in 32-bit code. SDM 2A 2.3.5, 2.3.6.
bool has_ignored_vex_bit(const Decoded& decoded) {
  const Instruction& instruction = decoded.instruction;
  if (instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX) return false;
  for (unsigned i = 0; i < instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    if (operand.encoding == ZYDIS_OPERAND_ENCODING_IS4) return true;
    const bool is_part = operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.size < 128;
    const bool is_register = operand.type == ZYDIS_OPERAND_TYPE_REGISTER && is_general(operand.reg.value);
    if (instruction.raw.vex.W != 0 && (is_part || is_register)) return true;
  }
  return false;
}

// What 64-bit code has with another meaning, or not at all.
bool is_different_in_32bit(const Decoded& decoded) {
  const Instruction& instruction = decoded.instruction;
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_VZEROALL:  // of eight registers only
    case ZYDIS_MNEMONIC_VZEROUPPER:
      return true;
    default:
      break;
  }
  for (unsigned i = 0; i < instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (instruction.address_width == 16 || operand.mem.segment == ZYDIS_REGISTER_CS) return true;
    // Beyond the segment, whatever its base.
    const u64 last = (static_cast<u64>(operand.mem.disp.value) & 0xffffffff) + operand.size / 8 - 1;
    if (has_based_segment(operand) && is_absolute(operand) && last > 0xffffffff) return true;
  }
  return has_ignored_vex_bit(decoded);
}

// PREFETCH with a register is a NOP on some processors only.
bool is_register_prefetch(const Instruction& instruction) {
  return instruction.opcode_map == ZYDIS_OPCODE_MAP_0F && instruction.opcode == 0x0d &&
         instruction.raw.modrm.mod == 3;
}

bool is_hint(const Instruction& instruction) {
  return (instruction.mnemonic == ZYDIS_MNEMONIC_NOP && !is_register_prefetch(instruction)) ||
         instruction.meta.category == ZYDIS_CATEGORY_PREFETCH;
}

}  // namespace

Classified classify(const Decoded& decoded, const x86::FeatureSet& features) {
  const Instruction& instruction = decoded.instruction;
  if (!is_offered(instruction, features)) return {};
  if (is_hint(instruction)) return {.kind = Kind::kNothing};
  if (is_32bit(decoded) && is_different_in_32bit(decoded)) return {};
  const Kind system = classify_system(decoded);
  if (system != Kind::kInterpret) return {.kind = system};
  switch (instruction.meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_UNCOND_BR:
      return {.kind = classify_branch(decoded)};
    case ZYDIS_CATEGORY_PUSH:
    case ZYDIS_CATEGORY_POP:
      return {.kind = classify_stack(decoded)};
    default:
      break;
  }
  if (instruction.meta.isa_ext == ZYDIS_ISA_EXT_X87 || instruction.meta.isa_ext == ZYDIS_ISA_EXT_MMX)
    return classify_x87(decoded);
  if (instruction.mnemonic == ZYDIS_MNEMONIC_LEAVE) return {.kind = classify_stack(decoded)};
  if (instruction.mnemonic == ZYDIS_MNEMONIC_LEA) return {.kind = Kind::kLea};
  return classify_plain(decoded);
}

const ZydisDecodedOperand* memory_operand(const Decoded& decoded) {
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && is_encoded_memory(operand)) return &operand;
  }
  return nullptr;
}

bool is_general(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      return true;
    default:
      return false;
  }
}

// Zydis counts AH to BH as 4 to 7 of the byte registers.
unsigned guest_number(ZydisRegister reg) {
  const unsigned id = static_cast<u8>(ZydisRegisterGetId(reg));
  return ZydisRegisterGetClass(reg) != ZYDIS_REGCLASS_GPR8 || id < 4 ? id : id - 4;
}

bool is_high_byte(ZydisRegister reg) { return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH; }

}  // namespace doppel::jit
