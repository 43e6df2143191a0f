// Which specialised handler executes a decoded instruction, if there is one.
#include <optional>

#include "engine/interp/handlers.h"
#include "engine/interp/trace_builder.h"

namespace doppel::interp {

u8 register_offset(ZydisRegister reg) {
  if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_R15B) {
    const int index = reg - ZYDIS_REGISTER_AL;
    if (index < 4) return static_cast<u8>(index * 8);
    if (index < 8) return static_cast<u8>((index - 4) * 8 + 1);  // AH, CH, DH, BH
    return static_cast<u8>((index - 4) * 8);                     // SPL.. follow the four high bytes
  }
  return static_cast<u8>(ZydisRegisterGetId(reg) * 8);
}

namespace {

u8 segment_index(ZydisRegister reg) {
  switch (reg) {
    case ZYDIS_REGISTER_ES:
      return x86::kEs;
    case ZYDIS_REGISTER_CS:
      return x86::kCs;
    case ZYDIS_REGISTER_SS:
      return x86::kSs;
    case ZYDIS_REGISTER_FS:
      return x86::kFs;
    case ZYDIS_REGISTER_GS:
      return x86::kGs;
    default:
      return x86::kDs;
  }
}

bool is_rip(ZydisRegister reg) { return reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP; }

}  // namespace

AddressKind set_memory_operand(Op& op, const Decoded& decoded, const ZydisDecodedOperand& operand,
                               bool is_64bit) {
  const ZydisDecodedOperandMem& memory = operand.mem;
  const u8 address_width = decoded.instruction.address_width;
  op.segment = segment_index(memory.segment);
  op.address_mode = address_width == 64 ? kAddress64 : (address_width == 32 ? kAddress32 : kAddress16);
  i64 displacement = memory.disp.has_displacement ? memory.disp.value : 0;
  const bool is_relative = is_rip(memory.base);
  if (is_relative) {
    op.address_mode |= kAddressRipRelative;
    displacement += static_cast<i64>(decoded.offset + decoded.instruction.length);
  } else if (memory.base != ZYDIS_REGISTER_NONE) {
    op.base = static_cast<u8>(ZydisRegisterGetId(memory.base));
  }
  if (memory.index != ZYDIS_REGISTER_NONE) {
    op.index = static_cast<u8>(ZydisRegisterGetId(memory.index));
    op.scale = static_cast<u8>(__builtin_ctz(memory.scale != 0 ? memory.scale : 1));
  }
  op.displacement = static_cast<i32>(displacement);
  if (is_relative && op.displacement != displacement) {
    op.address_mode |= kAddressRipFar;
    op.displacement = static_cast<i32>(memory.disp.value);
    return AddressKind::kAny;
  }
  if (!is_64bit || address_width != 64) return AddressKind::kAny;
  const bool has_segment_base = op.segment == x86::kFs || op.segment == x86::kGs;
  if (has_segment_base) return is_relative ? AddressKind::kSegmentRelative : AddressKind::kSegment;
  if (is_relative) return AddressKind::kRipRelative;
  return memory.index == ZYDIS_REGISTER_NONE ? AddressKind::kBaseDisp : AddressKind::kBaseIndex;
}

namespace {

// An operand in memory or in the register whose offset becomes `reg`.
AddressKind set_operand(Op& op, const Decoded& decoded, const ZydisDecodedOperand& operand, bool is_64bit,
                        u8& reg) {
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) return set_memory_operand(op, decoded, operand, is_64bit);
  reg = register_offset(operand.reg.value);
  return AddressKind::kNone;
}

// The operand shapes shared by MOV and the arithmetic group.
struct Shape {
  Form form;
  unsigned width;
  AddressKind kind = AddressKind::kAny;
};

bool is_gpr(const ZydisDecodedOperand& operand) {
  if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
  const ZydisRegisterClass kind = ZydisRegisterGetClass(operand.reg.value);
  return kind == ZYDIS_REGCLASS_GPR8 || kind == ZYDIS_REGCLASS_GPR16 || kind == ZYDIS_REGCLASS_GPR32 ||
         kind == ZYDIS_REGCLASS_GPR64;
}
bool is_memory(const ZydisDecodedOperand& operand) { return operand.type == ZYDIS_OPERAND_TYPE_MEMORY; }
bool is_immediate(const ZydisDecodedOperand& operand) { return operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE; }

std::optional<Shape> set_shape(Op& op, const Decoded& decoded, bool is_64bit) {
  const ZydisDecodedOperand& first = decoded.operand(0);
  const ZydisDecodedOperand& second = decoded.operand(1);
  const unsigned width = first.size / 8u;
  op.width = static_cast<u8>(width);
  if (is_immediate(second)) op.immediate = second.imm.value.u;
  if (is_gpr(second)) op.source = register_offset(second.reg.value);
  if (is_gpr(first)) {
    op.destination = register_offset(first.reg.value);
    if (is_gpr(second) && second.size == first.size) return Shape{Form::kRegReg, width};
    if (is_immediate(second)) return Shape{Form::kRegImm, width};
    if (is_memory(second))
      return Shape{Form::kRegMem, width, set_memory_operand(op, decoded, second, is_64bit)};
    return std::nullopt;
  }
  if (!is_memory(first)) return std::nullopt;
  const AddressKind kind = set_memory_operand(op, decoded, first, is_64bit);
  if (is_gpr(second)) return Shape{Form::kMemReg, width, kind};
  if (is_immediate(second)) return Shape{Form::kMemImm, width, kind};
  return std::nullopt;
}

std::optional<Alu> alu_of(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
      return Alu::kAdd;
    case ZYDIS_MNEMONIC_OR:
      return Alu::kOr;
    case ZYDIS_MNEMONIC_ADC:
      return Alu::kAdc;
    case ZYDIS_MNEMONIC_SBB:
      return Alu::kSbb;
    case ZYDIS_MNEMONIC_AND:
      return Alu::kAnd;
    case ZYDIS_MNEMONIC_SUB:
      return Alu::kSub;
    case ZYDIS_MNEMONIC_XOR:
      return Alu::kXor;
    case ZYDIS_MNEMONIC_CMP:
      return Alu::kCmp;
    case ZYDIS_MNEMONIC_TEST:
      return Alu::kTest;
    default:
      return std::nullopt;
  }
}

std::optional<Shift> shift_of(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_ROL:
      return Shift::kRol;
    case ZYDIS_MNEMONIC_ROR:
      return Shift::kRor;
    case ZYDIS_MNEMONIC_RCL:
      return Shift::kRcl;
    case ZYDIS_MNEMONIC_RCR:
      return Shift::kRcr;
    case ZYDIS_MNEMONIC_SHL:
      return Shift::kShl;
    case ZYDIS_MNEMONIC_SHR:
      return Shift::kShr;
    case ZYDIS_MNEMONIC_SAR:
      return Shift::kSar;
    default:
      return std::nullopt;
  }
}

std::optional<Unary> unary_of(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_INC:
      return Unary::kInc;
    case ZYDIS_MNEMONIC_DEC:
      return Unary::kDec;
    case ZYDIS_MNEMONIC_NEG:
      return Unary::kNeg;
    case ZYDIS_MNEMONIC_NOT:
      return Unary::kNot;
    default:
      return std::nullopt;
  }
}

// Condition code of Jcc, SETcc and CMOVcc: the low four bits of the opcode.
unsigned condition_code(const Decoded& decoded) { return decoded.instruction.opcode & 0xf; }

bool has_lock(const Decoded& decoded) {
  return (decoded.instruction.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
}

Handler select_alu_handler(Op& op, const Decoded& decoded, Alu operation, bool is_64bit) {
  const std::optional<Shape> shape = set_shape(op, decoded, is_64bit);
  if (!shape) return nullptr;
  if (has_lock(decoded)) return select_alu_locked(operation, shape->width, shape->form, shape->kind);
  return select_alu(operation, shape->width, shape->form, shape->kind);
}

Handler select_shift_handler(Op& op, const Decoded& decoded, Shift operation, bool is_64bit) {
  const ZydisDecodedOperand& first = decoded.operand(0);
  const ZydisDecodedOperand& count = decoded.operand(1);
  const bool by_cl = !is_immediate(count);
  if (!by_cl) op.immediate = count.imm.value.u;
  const AddressKind kind = set_operand(op, decoded, first, is_64bit, op.destination);
  return select_shift(operation, first.size / 8u, kind, by_cl);
}

Handler select_unary_handler(Op& op, const Decoded& decoded, Unary operation, bool is_64bit) {
  const ZydisDecodedOperand& first = decoded.operand(0);
  const AddressKind kind = set_operand(op, decoded, first, is_64bit, op.destination);
  return select_unary(operation, first.size / 8u, kind, has_lock(decoded));
}

Handler select_extend_handler(Op& op, const Decoded& decoded, bool is_signed, bool is_64bit) {
  const ZydisDecodedOperand& first = decoded.operand(0);
  const ZydisDecodedOperand& second = decoded.operand(1);
  // MOVSXD from memory to 16 bits: how much it reads is not the same everywhere.
  if (is_memory(second) && first.size == 16 && second.size == 32) return nullptr;
  op.destination = register_offset(first.reg.value);
  const AddressKind kind = set_operand(op, decoded, second, is_64bit, op.source);
  return select_extend(is_signed, first.size / 8u, second.size / 8u, kind);
}

// 0F 0D is PREFETCH and PREFETCHW, which are NOPs for a register on some processors only.
bool is_register_prefetch(const ZydisDecodedInstruction& instruction) {
  return instruction.opcode_map == ZYDIS_OPCODE_MAP_0F && instruction.opcode == 0x0d &&
         instruction.raw.modrm.mod == 3;
}

Handler select_imul_handler(Op& op, const Decoded& decoded, bool is_64bit) {
  const unsigned count = decoded.instruction.operand_count_visible;
  if (count < 2) return nullptr;
  const ZydisDecodedOperand& first = decoded.operand(0);
  const ZydisDecodedOperand& second = decoded.operand(1);
  op.destination = register_offset(first.reg.value);
  const bool has_immediate = count == 3;
  if (has_immediate) op.immediate = decoded.operand(2).imm.value.u;
  const AddressKind kind = set_operand(op, decoded, second, is_64bit, op.source);
  return select_imul(first.size / 8u, kind, has_immediate);
}

Handler select_cmov_handler(Op& op, const Decoded& decoded, bool is_64bit) {
  const ZydisDecodedOperand& first = decoded.operand(0);
  const ZydisDecodedOperand& second = decoded.operand(1);
  op.destination = register_offset(first.reg.value);
  const AddressKind kind = set_operand(op, decoded, second, is_64bit, op.source);
  return select_cmov(condition_code(decoded), first.size / 8u, kind);
}

Handler select_setcc_handler(Op& op, const Decoded& decoded, bool is_64bit) {
  const AddressKind kind = set_operand(op, decoded, decoded.operand(0), is_64bit, op.destination);
  return select_setcc(condition_code(decoded), kind);
}

Handler select_data(Op& op, const Decoded& decoded, bool is_64bit) {
  const ZydisMnemonic mnemonic = decoded.instruction.mnemonic;
  if (const auto operation = alu_of(mnemonic)) return select_alu_handler(op, decoded, *operation, is_64bit);
  if (const auto operation = shift_of(mnemonic))
    return select_shift_handler(op, decoded, *operation, is_64bit);
  if (const auto operation = unary_of(mnemonic))
    return select_unary_handler(op, decoded, *operation, is_64bit);
  switch (decoded.instruction.meta.category) {
    case ZYDIS_CATEGORY_CMOV:
      return select_cmov_handler(op, decoded, is_64bit);
    case ZYDIS_CATEGORY_SETCC:
      return select_setcc_handler(op, decoded, is_64bit);
    default:
      break;
  }
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOV: {
      // A 64-bit absolute address (MOV moffs) has no room in an Op.
      if (decoded.instruction.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && decoded.instruction.opcode >= 0xa0 &&
          decoded.instruction.opcode <= 0xa3) {
        return nullptr;
      }
      const std::optional<Shape> shape = set_shape(op, decoded, is_64bit);
      return shape ? select_mov(shape->width, shape->form, shape->kind) : nullptr;
    }
    case ZYDIS_MNEMONIC_MOVZX:
      return select_extend_handler(op, decoded, false, is_64bit);
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
      return select_extend_handler(op, decoded, true, is_64bit);
    case ZYDIS_MNEMONIC_LEA: {
      op.destination = register_offset(decoded.operand(0).reg.value);
      const AddressKind kind = set_memory_operand(op, decoded, decoded.operand(1), is_64bit);
      return select_lea(decoded.operand(0).size / 8u, kind);
    }
    case ZYDIS_MNEMONIC_IMUL:
      return select_imul_handler(op, decoded, is_64bit);
    case ZYDIS_MNEMONIC_NOP:
      return is_register_prefetch(decoded.instruction) ? nullptr : select_nop();
    case ZYDIS_MNEMONIC_XCHG:
      if (!is_gpr(decoded.operand(0)) || !is_gpr(decoded.operand(1))) return nullptr;
      op.destination = register_offset(decoded.operand(0).reg.value);
      op.source = register_offset(decoded.operand(1).reg.value);
      return select_xchg_registers(decoded.operand(0).size / 8u);
    default:
      return nullptr;
  }
}

// Branches, calls, returns and stack operations of 64-bit code.
Handler select_flow(Op& op, const Decoded& decoded, Ending& ending) {
  const ZydisDecodedInstruction& instruction = decoded.instruction;
  const ZydisDecodedOperand& first = decoded.operand(0);
  const bool is_relative = is_immediate(first) && first.imm.is_relative;
  if (is_relative) {
    const i64 target = static_cast<i64>(decoded.offset + instruction.length) + first.imm.value.s;
    op.displacement = static_cast<i32>(target);
    if (op.displacement != target) return nullptr;
  }
  if (instruction.meta.category == ZYDIS_CATEGORY_COND_BR) {
    // JRCXZ and LOOP are in the semantic table.
    const bool is_jcc = instruction.opcode_map == ZYDIS_OPCODE_MAP_0F ? (instruction.opcode & 0xf0) == 0x80
                                                                      : (instruction.opcode & 0xf0) == 0x70;
    if (!is_jcc) return nullptr;
    ending = Ending::kLinked;
    return select_jcc(condition_code(decoded));
  }
  const bool is_near = instruction.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
  switch (instruction.mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_CALL: {
      const bool is_call = instruction.mnemonic == ZYDIS_MNEMONIC_CALL;
      if (!is_near) return nullptr;
      if (is_relative) {
        ending = Ending::kLinked;
        return is_call ? select_call() : select_jump();
      }
      if (first.size != 64) return nullptr;
      ending = Ending::kLeaves;
      return select_indirect(is_call, set_operand(op, decoded, first, true, op.source));
    }
    case ZYDIS_MNEMONIC_RET:
      if (!is_near) return nullptr;
      if (is_immediate(first)) op.immediate = first.imm.value.u & 0xffff;
      ending = Ending::kLeaves;
      return select_return();
    case ZYDIS_MNEMONIC_PUSH:
      if (instruction.operand_width != 64) return nullptr;
      if (is_gpr(first))
        op.source = register_offset(first.reg.value);
      else if (is_immediate(first))
        op.immediate = first.imm.value.u;
      else
        return nullptr;
      return select_push(is_immediate(first));
    case ZYDIS_MNEMONIC_POP:
      if (instruction.operand_width != 64 || !is_gpr(first)) return nullptr;
      op.destination = register_offset(first.reg.value);
      return select_pop();
    default:
      return nullptr;
  }
}

}  // namespace

std::optional<Comparison> comparison_of(const Decoded& decoded) {
  const std::optional<Alu> operation = alu_of(decoded.instruction.mnemonic);
  if (!operation || !is_gpr(decoded.operand(0)) || is_memory(decoded.operand(1))) return std::nullopt;
  const Form form = is_immediate(decoded.operand(1)) ? Form::kRegImm : Form::kRegReg;
  return Comparison{*operation, decoded.operand(0).size / 8u, form};
}

void fuse_branch(Op& op, const Comparison& comparison, const Decoded& branch) {
  if (branch.instruction.meta.category != ZYDIS_CATEGORY_COND_BR) return;
  const Handler fused = select_compare_and_branch(comparison.operation, comparison.width, comparison.form,
                                                  condition_code(branch));
  if (fused != nullptr) op.handler = fused;
}

bool select_handler(Op& op, const Decoded& decoded, bool is_64bit, Ending& ending) {
  const Op saved = op;
  op.handler = select_data(op, decoded, is_64bit);
  if (op.handler == nullptr && is_64bit) {
    op = saved;
    op.handler = select_flow(op, decoded, ending);
  }
  if (op.handler != nullptr) return true;
  op = saved;
  return false;
}

}  // namespace doppel::interp
