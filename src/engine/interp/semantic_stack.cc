// Stack instructions other than 64-bit register PUSH and POP. SDM 2A, 2B.
#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

// The size a stack instruction moves: 64-bit code has no 32-bit pushes.
unsigned stack_size(const Interpreter& s, const Insn& insn) {
  if (s.is_64bit && insn.operand_size != 2) return 8;
  return insn.operand_size;
}

Flow push(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = stack_size(s, insn);
  const Operand& operand = insn.operands[0];
  u64 value;
  if (operand.kind == OperandKind::kSegment) {
    value = s.state.segment(operand.reg).selector;
    // A 32-bit push of a selector writes 16 bits only on recent processors of Intel's. SDM 2B "PUSH".
    if (size == 4 && !s.cpuid.is_amd()) {
      const u64 mask = s.stack_mask();
      const u64 offset = (s.state.gpr[x86::kRsp] - 4) & mask;
      u64 va;
      if (!s.linear_address(x86::kSs, offset, 4, true, va) || !s.write_linear(va, &value, 2, s.access_mode)) {
        return Flow::kFault;
      }
      s.state.gpr[x86::kRsp] = (s.state.gpr[x86::kRsp] & ~mask) | offset;
      return Flow::kNext;
    }
  } else if (operand.kind == OperandKind::kImmediate) {
    value = insn.immediate;
  } else if (!read_operand(s, op, insn, 0, value)) {
    return Flow::kFault;
  }
  return fault_of(s.push(value, size));
}

Flow pop(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = stack_size(s, insn);
  const Operand& operand = insn.operands[0];
  const u64 old_rsp = s.state.gpr[x86::kRsp];
  u64 value;
  if (!s.pop(value, size)) return Flow::kFault;
  if (operand.kind == OperandKind::kSegment) {
    if (!s.load_segment(operand.reg, static_cast<u16>(value))) {
      s.state.gpr[x86::kRsp] = old_rsp;
      return Flow::kFault;
    }
    s.refresh();
    if (operand.reg != x86::kSs) return Flow::kNext;
    s.state.shadow = kShadowMovSs;
    s.state.rip = next_rip(s, op);
    return Flow::kJump;
  }
  // A memory operand addressed by RSP uses its value after the pop. SDM 2B "POP".
  if (operand.kind == OperandKind::kMemory) {
    u64 va;
    if (!memory_address(s, op, size, true, va) || !s.write_linear(va, &value, size, s.access_mode)) {
      s.state.gpr[x86::kRsp] = old_rsp;
      return Flow::kFault;
    }
    return Flow::kNext;
  }
  write_gpr(s, operand.reg, size, value);
  return Flow::kNext;
}

Flow pusha(Interpreter& s, const Op&, const Insn& insn) {
  const unsigned size = insn.mnemonic == ZYDIS_MNEMONIC_PUSHAD ? 4 : 2;
  const u64 old_rsp = s.state.gpr[x86::kRsp];
  for (unsigned i = 0; i < 8; ++i) {
    const u64 value = i == x86::kRsp ? old_rsp : s.state.gpr[i];
    if (!s.push(value, size)) {
      s.state.gpr[x86::kRsp] = old_rsp;
      return Flow::kFault;
    }
  }
  return Flow::kNext;
}

Flow popa(Interpreter& s, const Op&, const Insn& insn) {
  const unsigned size = insn.mnemonic == ZYDIS_MNEMONIC_POPAD ? 4 : 2;
  const u64 old_rsp = s.state.gpr[x86::kRsp];
  u64 values[8];
  for (unsigned i = 8; i-- > 0;) {
    if (!s.pop(values[i], size)) {
      s.state.gpr[x86::kRsp] = old_rsp;
      return Flow::kFault;
    }
  }
  for (unsigned i = 0; i < 8; ++i) {
    if (i != x86::kRsp) write_gpr(s, static_cast<u8>(i * 8), size, values[i]);
  }
  return Flow::kNext;
}

void set_frame_pointer(Interpreter& s, unsigned size, u64 value) { write_gpr(s, x86::kRbp * 8, size, value); }

Flow enter(Interpreter& s, const Op&, const Insn& insn) {
  const unsigned size = stack_size(s, insn);
  const u64 mask = s.stack_mask();
  const u64 old_rsp = s.state.gpr[x86::kRsp];
  const u64 allocation = insn.immediate & 0xffff;
  const unsigned level = insn.immediate2 & 31;
  auto abandon = [&] {
    s.state.gpr[x86::kRsp] = old_rsp;
    return Flow::kFault;
  };
  if (!s.push(s.state.gpr[x86::kRbp], size)) return abandon();
  const u64 frame = s.state.gpr[x86::kRsp];
  u64 pointer = s.state.gpr[x86::kRbp];
  for (unsigned i = 1; i < level; ++i) {
    pointer = (pointer & ~mask) | ((pointer - size) & mask);
    u64 va;
    u64 value = 0;
    if (!s.linear_address(x86::kSs, pointer & mask, size, false, va) ||
        !s.read_linear(va, &value, size, s.access_mode) || !s.push(value, size)) {
      return abandon();
    }
  }
  if (level != 0 && !s.push(frame, size)) return abandon();
  const u64 new_rsp = (s.state.gpr[x86::kRsp] & ~mask) | ((s.state.gpr[x86::kRsp] - allocation) & mask);
  // The new top of the stack must be writable. SDM 2A "ENTER".
  u64 va;
  if (!s.linear_address(x86::kSs, new_rsp & mask, size, true, va) ||
      !s.probe_write(va, size, s.access_mode)) {
    return abandon();
  }
  s.state.gpr[x86::kRsp] = new_rsp;
  set_frame_pointer(s, size, frame);
  return Flow::kNext;
}

Flow leave(Interpreter& s, const Op&, const Insn& insn) {
  const unsigned size = stack_size(s, insn);
  const u64 mask = s.stack_mask();
  const u64 old_rsp = s.state.gpr[x86::kRsp];
  s.state.gpr[x86::kRsp] = (old_rsp & ~mask) | (s.state.gpr[x86::kRbp] & mask);
  u64 value;
  if (!s.pop(value, size)) {
    s.state.gpr[x86::kRsp] = old_rsp;
    return Flow::kFault;
  }
  set_frame_pointer(s, size, value);
  return Flow::kNext;
}

// PUSHF: sensitive; v8086 mode needs IOPL 3 or CR4.VME. SDM 2B "PUSHF".
Flow pushf(Interpreter& s, const Op&, const Insn& insn) {
  const unsigned size = stack_size(s, insn);
  u64 image = s.state.rflags & ~(x86::kFlagVm | x86::kFlagRf);
  if (s.is_v8086() && s.iopl() < 3) {
    const bool has_vme = (s.state.cr4 & x86::kCr4Vme) != 0;
    if (!has_vme || size != 2) return s.raise(x86::kVectorGp, 0), Flow::kFault;
    image |= x86::kFlagIopl;
    image = (s.state.rflags & x86::kFlagVif) != 0 ? image | x86::kFlagIf : image & ~x86::kFlagIf;
  }
  return fault_of(s.push(image, size));
}

// POPF: which flags change depends on mode, CPL, IOPL and CR4.VME/PVI. SDM 2B "POPF".
Flow popf(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = stack_size(s, insn);
  u64 mask = x86::kArithmeticFlags | x86::kFlagTf | x86::kFlagDf | x86::kFlagNt;
  if (size != 2) mask |= x86::kFlagAc | x86::kFlagId;
  bool uses_virtual_if = false;
  if (s.is_v8086()) {
    if (s.iopl() == 3) {
      mask |= x86::kFlagIf;
    } else {
      if ((s.state.cr4 & x86::kCr4Vme) == 0 || size != 2) return s.raise(x86::kVectorGp, 0), Flow::kFault;
      uses_virtual_if = true;
    }
  } else {
    if (s.cpl == 0) mask |= x86::kFlagIopl;
    if (s.cpl <= s.iopl()) mask |= x86::kFlagIf;
  }
  const u64 old_rsp = s.state.gpr[x86::kRsp];
  u64 image;
  if (!s.pop(image, size)) return Flow::kFault;
  if (uses_virtual_if) {
    const bool wants_interrupts = (image & x86::kFlagIf) != 0;
    if ((wants_interrupts && (s.state.rflags & x86::kFlagVip) != 0) || (image & x86::kFlagTf) != 0) {
      s.state.gpr[x86::kRsp] = old_rsp;
      return s.raise(x86::kVectorGp, 0), Flow::kFault;
    }
    set_flag(s, x86::kFlagVif, wants_interrupts);
  }
  const u64 old = s.state.rflags;
  s.state.rflags = ((old & ~mask) | (image & mask) | x86::kFlagReserved1) & ~x86::kFlagRf;
  const u64 changed = old ^ s.state.rflags;
  const bool enables = (changed & s.state.rflags & x86::kFlagIf) != 0;
  const bool opens_window = enables && s.may_have_interrupt();
  if ((s.state.rflags & x86::kFlagTf) == 0 && (changed & x86::kFlagAc) == 0 && !opens_window)
    return Flow::kNext;
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

constexpr SemanticRow kRows[] = {
    {ZYDIS_MNEMONIC_PUSH, &push},    {ZYDIS_MNEMONIC_POP, &pop},      {ZYDIS_MNEMONIC_PUSHA, &pusha},
    {ZYDIS_MNEMONIC_PUSHAD, &pusha}, {ZYDIS_MNEMONIC_POPA, &popa},    {ZYDIS_MNEMONIC_POPAD, &popa},
    {ZYDIS_MNEMONIC_ENTER, &enter},  {ZYDIS_MNEMONIC_LEAVE, &leave},  {ZYDIS_MNEMONIC_PUSHF, &pushf},
    {ZYDIS_MNEMONIC_PUSHFD, &pushf}, {ZYDIS_MNEMONIC_PUSHFQ, &pushf}, {ZYDIS_MNEMONIC_POPF, &popf},
    {ZYDIS_MNEMONIC_POPFD, &popf},   {ZYDIS_MNEMONIC_POPFQ, &popf},
};

}  // namespace

std::span<const SemanticRow> stack_rows() { return kRows; }

}  // namespace doppel::interp
