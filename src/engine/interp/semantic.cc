// Operand access and the lookup of semantic rows.
#include "engine/interp/semantic.h"

#include <array>
#include <cstring>

#include "engine/interp/borrowed.h"
#include "engine/interp/trace_builder.h"

namespace doppel::interp {
namespace {

using Table = std::array<const SemanticRow*, ZYDIS_MNEMONIC_MAX_VALUE + 1>;

Table make_table() {
  Table table = {};
  for (const auto rows : {integer_rows(), bit_rows(), string_rows(), stack_rows(), flow_rows(), flag_rows(),
                          segment_rows(), system_rows(), io_rows(), xsave_rows(), vector_rows()}) {
    for (const SemanticRow& row : rows) table[row.mnemonic] = &row;
  }
  return table;
}

OperandKind kind_of(const ZydisDecodedOperand& operand) {
  switch (operand.type) {
    case ZYDIS_OPERAND_TYPE_MEMORY:
      return OperandKind::kMemory;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
      return OperandKind::kImmediate;
    case ZYDIS_OPERAND_TYPE_POINTER:
      return OperandKind::kFar;
    case ZYDIS_OPERAND_TYPE_REGISTER:
      break;
    default:
      return OperandKind::kNone;
  }
  switch (ZydisRegisterGetClass(operand.reg.value)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      return OperandKind::kGpr;
    case ZYDIS_REGCLASS_SEGMENT:
      return OperandKind::kSegment;
    case ZYDIS_REGCLASS_CONTROL:
      return OperandKind::kControl;
    case ZYDIS_REGCLASS_DEBUG:
      return OperandKind::kDebug;
    default:
      return OperandKind::kVector;
  }
}

bool is_string(const ZydisDecodedInstruction& instruction) {
  return instruction.meta.category == ZYDIS_CATEGORY_STRINGOP ||
         instruction.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
}

void fill_operand(Insn& insn, unsigned index, const Decoded& decoded) {
  const ZydisDecodedOperand& from = decoded.operand(index);
  Operand& to = insn.operands[index];
  to.kind = kind_of(from);
  to.size = static_cast<u8>(from.size / 8);
  switch (to.kind) {
    case OperandKind::kGpr:
      to.reg = register_offset(from.reg.value);
      to.slot = static_cast<u8>(to.reg / 8);
      break;
    case OperandKind::kSegment:
    case OperandKind::kControl:
    case OperandKind::kDebug:
    case OperandKind::kVector:
      to.reg = static_cast<u8>(ZydisRegisterGetId(from.reg.value));
      break;
    case OperandKind::kImmediate:
      if (index == 0 || insn.operands[0].kind != OperandKind::kImmediate)
        insn.immediate = from.imm.value.u;
      else
        insn.immediate2 = from.imm.value.u;
      break;
    case OperandKind::kFar:
      insn.immediate = from.ptr.offset;
      insn.immediate2 = from.ptr.segment;
      break;
    default:
      break;
  }
}

// An instruction has one memory operand that an Op describes: the encoded one, else the implicit one; for
// string instructions the source, since the destination is always ES:RDI.
const ZydisDecodedOperand* memory_operand(const Decoded& decoded) {
  const ZydisDecodedOperand* found = nullptr;
  for (unsigned i = 0; i < decoded.instruction.operand_count; ++i) {
    const ZydisDecodedOperand& operand = decoded.operand(i);
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (found == nullptr) found = &operand;
    const ZydisRegister base = operand.mem.base;
    const bool is_source =
        base == ZYDIS_REGISTER_RSI || base == ZYDIS_REGISTER_ESI || base == ZYDIS_REGISTER_SI;
    if (is_string(decoded.instruction) && is_source) return &operand;
  }
  return found;
}

AddressKind fill_memory(Op& op, Insn& insn, const Decoded& decoded, bool is_64bit) {
  const ZydisDecodedOperand* operand = memory_operand(decoded);
  if (operand == nullptr) return AddressKind::kNone;
  const AddressKind kind = set_memory_operand(op, decoded, *operand, is_64bit);
  // MOV moffs keeps its address here, whole.
  if (decoded.instruction.mnemonic == ZYDIS_MNEMONIC_MOV && operand->mem.disp.has_displacement) {
    const bool has_immediate = decoded.operand(1).type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    if (!has_immediate) insn.immediate = static_cast<u64>(operand->mem.disp.value);
  }
  return kind;
}

// What select_vector's handlers look at.
void fill_vector(Op& op, const Insn& insn, AddressKind kind) {
  op.width = static_cast<u8>((insn.stub->uses_sse ? kGateSse : 0) | (insn.stub->uses_avx ? kGateAvx : 0));
  op.destination = insn.operands[0].reg;
  op.source = insn.operands[1].reg;
  if (const Handler handler = select_vector(insn, kind)) op.handler = handler;
}

}  // namespace

const SemanticRow* find_semantic(ZydisMnemonic mnemonic) {
  static const Table kTable = make_table();
  return kTable[mnemonic];
}

Flow undefined_instruction(Interpreter& s, const Op&, const Insn&) {
  s.raise(x86::kVectorUd);
  return Flow::kFault;
}

namespace {

// Either repeat prefix repeats MOVS, STOS, LODS, INS and OUTS; the last one given counts.
void set_repeat_prefix(Insn& insn, const ZydisDecodedInstruction& instruction) {
  insn.has_rep = insn.has_repne = false;
  for (unsigned i = 0; i < instruction.raw.prefix_count; ++i) {
    const u8 value = instruction.raw.prefixes[i].value;
    if (value != 0xf2 && value != 0xf3) continue;
    insn.has_rep = value == 0xf3;
    insn.has_repne = value == 0xf2;
  }
}

// Nothing happened: the dispatcher makes room for the stub and comes back.
Flow try_again(Interpreter&, const Op&, const Insn&) { return Flow::kFault; }

}  // namespace

Ending fill_insn(Op& op, Insn& insn, const Decoded& decoded, Interpreter& interpreter, bool is_64bit) {
  const ZydisDecodedInstruction& instruction = decoded.instruction;
  insn.mnemonic = static_cast<u16>(instruction.mnemonic);
  insn.operand_size = static_cast<u8>(instruction.operand_width / 8);
  insn.has_lock = (instruction.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0;
  insn.has_rep = (instruction.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) != 0;
  insn.has_repne = (instruction.attributes & ZYDIS_ATTRIB_HAS_REPNE) != 0;
  insn.opcode = instruction.opcode;
  insn.modrm_reg = instruction.raw.modrm.reg;
  insn.vector_length = static_cast<u8>(instruction.avx.vector_length / 8);
  std::memcpy(insn.bytes.data(), decoded.bytes, instruction.length);
  op.address_mode = instruction.address_width == 64
                        ? kAddress64
                        : (instruction.address_width == 32 ? kAddress32 : kAddress16);
  for (unsigned i = 0; i < insn.operands.size() && i < instruction.operand_count_visible; ++i) {
    fill_operand(insn, i, decoded);
  }
  const AddressKind kind = fill_memory(op, insn, decoded, is_64bit);
  insn.function = &undefined_instruction;
  const SemanticRow* row = find_semantic(instruction.mnemonic);
  if (row != nullptr && row->is_string) {
    if (is_string(instruction))
      set_repeat_prefix(insn, instruction);
    else
      row = nullptr;
  }
  const bool is_hypercall = row != nullptr && row->is_paravirtual;
  if (!is_hypercall && !is_offered(instruction, interpreter.cpuid.features())) return Ending::kLeaves;
  if (row != nullptr) {
    insn.function = row->function;
    if (const Handler handler = select_exchange(op, insn, kind)) op.handler = handler;
    return row->ends_trace ? Ending::kLeaves : Ending::kNone;
  }
  insn.stub = interpreter.borrow(instruction, {decoded.operands, instruction.operand_count}, decoded.bytes);
  if (insn.stub == nullptr) {
    if (interpreter.wants_flush) insn.function = &try_again;
    return Ending::kLeaves;
  }
  if (insn.stub->uses_x87) insn.immediate = borrowed_x87_opcode(instruction);
  insn.function = &run_stub;
  fill_vector(op, insn, kind);
  return Ending::kNone;
}

const BorrowedStub* Interpreter::borrow(const ZydisDecodedInstruction& instruction,
                                        std::span<const ZydisDecodedOperand> operands, const u8* bytes) {
  const BorrowedStub* stub = borrowed.make(instruction, operands, {bytes, instruction.length});
  // Stubs are referred to by traces: both go together, at the next safe point.
  if (stub == nullptr && borrowed.is_full()) wants_flush = true;
  return stub;
}

bool memory_address(Interpreter& s, const Op& op, unsigned size, bool is_write, u64& va) {
  return operand_address(&s, &op, trace_base(s, op), size, is_write, va);
}

u64 address_mask(const Op& op) {
  switch (op.address_mode & kAddressSizeMask) {
    case kAddress16:
      return 0xffff;
    case kAddress32:
      return 0xffffffff;
    default:
      return ~u64{0};
  }
}

bool part_address(Interpreter& s, const Op& op, unsigned at, unsigned size, bool is_write, u64& va) {
  const u64 offset = (any_offset(&s, &op, trace_base(s, op)) + at) & address_mask(op);
  return s.linear_address(op.segment, offset, size, is_write, va);
}

bool is_aligned(Interpreter& s, const Op& op, unsigned alignment) {
  u64 va = any_offset(&s, &op, trace_base(s, op));
  if (!s.is_64bit || op.segment >= x86::kFs) va += s.state.segment(op.segment).base;
  return (va & (alignment - 1)) == 0;
}

u64 read_gpr(const Interpreter& s, u8 offset, unsigned size) {
  u64 value = 0;
  std::memcpy(&value, reinterpret_cast<const u8*>(&s) + offset, size);
  return value;
}

void write_gpr(Interpreter& s, u8 offset, unsigned size, u64 value) {
  if (size == 4) {
    value &= 0xffffffff;
    size = 8;
  }
  std::memcpy(reinterpret_cast<u8*>(&s) + offset, &value, size);
}

bool read_operand(Interpreter& s, const Op& op, const Insn& insn, unsigned index, u64& value) {
  const Operand& operand = insn.operands[index];
  switch (operand.kind) {
    case OperandKind::kGpr:
      value = read_gpr(s, operand.reg, operand.size);
      return true;
    case OperandKind::kImmediate:
      value = insn.immediate & size_mask(operand.size == 0 ? 8 : operand.size);
      return true;
    case OperandKind::kMemory: {
      u64 va;
      value = 0;
      return memory_address(s, op, operand.size, false, va) &&
             s.read_linear(va, &value, operand.size, s.access_mode);
    }
    default:
      return s.raise(x86::kVectorUd);
  }
}

bool write_operand(Interpreter& s, const Op& op, const Insn& insn, unsigned index, u64 value) {
  const Operand& operand = insn.operands[index];
  if (operand.kind == OperandKind::kGpr) {
    write_gpr(s, operand.reg, operand.size, value);
    return true;
  }
  u64 va;
  return memory_address(s, op, operand.size, true, va) &&
         s.write_linear(va, &value, operand.size, s.access_mode);
}

}  // namespace doppel::interp
