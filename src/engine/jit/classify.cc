// Which instructions run as they are, and which do not.
#include "engine/jit/classify.h"

#include "cpu/instruction_feature.h"
#include "x86/registers.h"

namespace doppel::jit {
namespace {

using Instruction = ZydisDecodedInstruction;

bool is_plain_integer(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_ADC:
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
    case ZYDIS_MNEMONIC_BSWAP:
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTC:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_CBW:
    case ZYDIS_MNEMONIC_CDQ:
    case ZYDIS_MNEMONIC_CDQE:
    case ZYDIS_MNEMONIC_CLC:
    case ZYDIS_MNEMONIC_CMC:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_CMPXCHG:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CQO:
    case ZYDIS_MNEMONIC_CRC32:
    case ZYDIS_MNEMONIC_CWD:
    case ZYDIS_MNEMONIC_CWDE:
    case ZYDIS_MNEMONIC_DEC:
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
    case ZYDIS_MNEMONIC_IMUL:
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_LAHF:
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_LZCNT:
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVBE:
    case ZYDIS_MNEMONIC_MOVNTI:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MUL:
    case ZYDIS_MNEMONIC_NEG:
    case ZYDIS_MNEMONIC_NOT:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_POPCNT:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_SAHF:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SBB:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SHRD:
    case ZYDIS_MNEMONIC_STC:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_XADD:
    case ZYDIS_MNEMONIC_XCHG:
    case ZYDIS_MNEMONIC_XOR:
      return true;
    default:
      return false;
  }
}

bool is_plain_integer(const Instruction& instruction) {
  if (is_plain_integer(instruction.mnemonic)) return true;
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
        if (operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM || ++memory > 1) return false;
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
// cannot be named beside them anyway. RCX can be copied to its own number, but not if an address is there.
bool has_impossible_high_byte(const Decoded& decoded) {
  bool has_high = false;
  bool has_rsp = false;
  bool has_rcx = false;
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || !is_general(operand.reg.value)) continue;
    if (operand.visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT) continue;
    has_high |= is_high_byte(operand.reg.value);
    has_rsp |= guest_number(operand.reg.value) == x86::kRsp;
    has_rcx |= guest_number(operand.reg.value) == x86::kRcx;
  }
  return has_high && (has_rsp || (has_rcx && memory_operand(decoded) != nullptr));
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

Classified classify_plain(const Decoded& decoded) {
  const Instruction& instruction = decoded.instruction;
  if (!has_plain_operands(decoded) || has_impossible_high_byte(decoded) || is_bit_string(decoded)) return {};
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

// Near branches of 64-bit code; AMD's with an operand-size prefix differ and are rare.
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
      return Kind::kInterpret;
    default:
      return instruction.meta.category == ZYDIS_CATEGORY_COND_BR ? Kind::kJumpIf : Kind::kInterpret;
  }
}

Kind classify_stack(const Decoded& decoded) {
  if (decoded.instruction.operand_width != 64) return Kind::kInterpret;
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
  if (instruction.mnemonic == ZYDIS_MNEMONIC_LEAVE) return {.kind = classify_stack(decoded)};
  if (instruction.mnemonic == ZYDIS_MNEMONIC_LEA) return {.kind = Kind::kLea};
  return classify_plain(decoded);
}

const ZydisDecodedOperand* memory_operand(const Decoded& decoded) {
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
      return &operand;
    }
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
