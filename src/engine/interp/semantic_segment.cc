// Segment registers and descriptors: MOV Sreg, LDS.., LAR, LSL, VERR, VERW, FS/GS bases. SDM 2A, 2B.
#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

// MOV forms that no specialised handler takes: segment, control and debug registers, absolute addresses.
Flow move_to_segment(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned index = insn.operands[0].reg;
  u64 selector;
  if (index == x86::kCs) return undefined_instruction(s, op, insn);
  if (!read_operand(s, op, insn, 1, selector)) return Flow::kFault;
  if (!s.load_segment(index, static_cast<u16>(selector))) return Flow::kFault;
  if (index != x86::kSs) return Flow::kNext;
  s.state.shadow = kShadowMovSs;
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

Flow move_from_segment(Interpreter& s, const Op& op, const Insn& insn) {
  const u64 selector = s.state.segment(insn.operands[1].reg).selector;
  const Operand& to = insn.operands[0];
  if (to.kind == OperandKind::kGpr) {
    write_gpr(s, to.reg, to.size, selector);
    return Flow::kNext;
  }
  // Memory forms always store 16 bits.
  u64 va;
  return fault_of(memory_address(s, op, 2, true, va) && s.write_linear(va, &selector, 2, s.access_mode));
}

Flow move_absolute(Interpreter& s, const Op& op, const Insn& insn) {
  const bool is_load = insn.operands[0].kind == OperandKind::kGpr;
  const unsigned size = insn.operands[0].size;
  // The decoder sign-extends the address.
  u64 offset = insn.immediate;
  if ((op.address_mode & kAddressSizeMask) == kAddress32) offset &= 0xffffffff;
  if ((op.address_mode & kAddressSizeMask) == kAddress16) offset &= 0xffff;
  u64 va;
  if (!s.linear_address(op.segment, offset, size, !is_load, va)) return Flow::kFault;
  u64 value = s.state.gpr[x86::kRax];
  if (!is_load) return fault_of(s.write_linear(va, &value, size, s.access_mode));
  value = 0;
  if (!s.read_linear(va, &value, size, s.access_mode)) return Flow::kFault;
  write_gpr(s, x86::kRax * 8, size, value);
  return Flow::kNext;
}

Flow move_control(Interpreter& s, const Op& op, const Insn& insn) {
  const bool is_load = insn.operands[0].kind == OperandKind::kControl;
  const Operand& control = insn.operands[is_load ? 0 : 1];
  const Operand& general = insn.operands[is_load ? 1 : 0];
  const unsigned size = s.is_64bit ? 8 : 4;
  u64 value;
  if (!is_load) {
    if (!s.read_control(control.reg, value)) return Flow::kFault;
    write_gpr(s, general.reg, size, value);
    return Flow::kNext;
  }
  if (!s.write_control(control.reg, read_gpr(s, general.reg, size))) return Flow::kFault;
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

Flow move_debug(Interpreter& s, const Op& op, const Insn& insn) {
  const bool is_load = insn.operands[0].kind == OperandKind::kDebug;
  const Operand& debug = insn.operands[is_load ? 0 : 1];
  const Operand& general = insn.operands[is_load ? 1 : 0];
  const unsigned size = s.is_64bit ? 8 : 4;
  u64 value;
  if (!is_load) {
    if (!s.read_debug(debug.reg, value)) return Flow::kFault;
    write_gpr(s, general.reg, size, value);
    return Flow::kNext;
  }
  if (!s.write_debug(debug.reg, read_gpr(s, general.reg, size))) return Flow::kFault;
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

Flow move(Interpreter& s, const Op& op, const Insn& insn) {
  const OperandKind first = insn.operands[0].kind;
  const OperandKind second = insn.operands[1].kind;
  if (first == OperandKind::kSegment) return move_to_segment(s, op, insn);
  if (second == OperandKind::kSegment) return move_from_segment(s, op, insn);
  if (first == OperandKind::kControl || second == OperandKind::kControl) return move_control(s, op, insn);
  if (first == OperandKind::kDebug || second == OperandKind::kDebug) return move_debug(s, op, insn);
  return move_absolute(s, op, insn);
}

// LDS, LES, LFS, LGS, LSS.
template <unsigned kSegment>
Flow load_far_pointer(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = insn.operands[0].size;
  u64 va;
  u64 offset = 0;
  u16 selector;
  if (!memory_address(s, op, size + 2, false, va) || !s.read_linear(va, &offset, size, s.access_mode) ||
      !s.read_linear(va + size, &selector, 2, s.access_mode) || !s.load_segment(kSegment, selector)) {
    return Flow::kFault;
  }
  write_gpr(s, insn.operands[0].reg, size, offset);
  if (kSegment != x86::kSs) return Flow::kNext;
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

// The descriptor that LAR, LSL, VERR and VERW look at; false without a fault when there is none to see.
bool visible_descriptor(Interpreter& s, u16 value, x86::Descriptor& descriptor) {
  const x86::Selector selector{value};
  if (selector.is_null()) return false;
  u64 address;
  if (!s.read_descriptor(selector, descriptor, address, x86::kVectorGp)) {
    // Out of the table: not a fault here. A page fault is.
    if (s.fault.vector == x86::kVectorGp) s.has_fault = false;
    return false;
  }
  return true;
}

bool has_access(const Interpreter& s, u16 selector, const x86::Descriptor& descriptor) {
  if (descriptor.is_conforming()) return true;
  return descriptor.dpl() >= s.cpl && descriptor.dpl() >= (selector & 3u);
}

bool is_system_type_for(bool is_lar, bool is_long, unsigned type) {
  const bool is_tss32_or_ldt = type == x86::kLdt || type == x86::kTss32Available || type == x86::kTss32Busy;
  if (is_tss32_or_ldt) return true;
  const bool is_tss16 = type == x86::kTss16Available || type == x86::kTss16Busy;
  if (is_tss16) return !is_long;
  if (!is_lar) return false;
  if (type == x86::kCallGate32) return true;
  return !is_long && (type == x86::kCallGate16 || type == x86::kTaskGate);
}

template <bool kLar>
Flow load_rights_or_limit(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.is_real_or_v8086()) return undefined_instruction(s, op, insn);
  u64 raw = 0;
  const Operand& source = insn.operands[1];
  if (source.kind == OperandKind::kMemory) {
    // The selector is 16 bits whatever the operand size.
    u64 va;
    if (!memory_address(s, op, 2, false, va) || !s.read_linear(va, &raw, 2, s.access_mode))
      return Flow::kFault;
  } else {
    raw = read_gpr(s, source.reg, 2);
  }
  const u16 selector = static_cast<u16>(raw);
  x86::Descriptor descriptor;
  bool is_ok = visible_descriptor(s, selector, descriptor);
  if (s.has_fault) return Flow::kFault;
  if (is_ok && !descriptor.is_code_or_data())
    is_ok = is_system_type_for(kLar, s.is_long_mode, descriptor.type());
  is_ok = is_ok && has_access(s, selector, descriptor);
  set_flag(s, x86::kFlagZf, is_ok);
  if (!is_ok) return Flow::kNext;
  const u64 value = kLar ? (descriptor.raw >> 32) & 0xf0ff00 : descriptor.limit();
  write_gpr(s, insn.operands[0].reg, insn.operands[0].size, value);
  return Flow::kNext;
}

template <bool kWrite>
Flow verify(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.is_real_or_v8086()) return undefined_instruction(s, op, insn);
  u64 selector;
  if (!read_operand(s, op, insn, 0, selector)) return Flow::kFault;
  x86::Descriptor descriptor;
  bool is_ok = visible_descriptor(s, static_cast<u16>(selector), descriptor);
  if (s.has_fault) return Flow::kFault;
  is_ok = is_ok && descriptor.is_code_or_data() && has_access(s, static_cast<u16>(selector), descriptor) &&
          (kWrite ? descriptor.is_writable_data() : descriptor.is_readable());
  set_flag(s, x86::kFlagZf, is_ok);
  return Flow::kNext;
}

// ARPL exists outside 64-bit mode only, where the decoder reads MOVSXD.
Flow arpl(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.is_real_or_v8086()) return undefined_instruction(s, op, insn);
  u64 target;
  if (!read_operand(s, op, insn, 0, target)) return Flow::kFault;
  const u64 source = read_gpr(s, insn.operands[1].reg, 2);
  const bool adjusts = (target & 3) < (source & 3);
  if (adjusts && !write_operand(s, op, insn, 0, (target & ~u64{3}) | (source & 3))) return Flow::kFault;
  set_flag(s, x86::kFlagZf, adjusts);
  return Flow::kNext;
}

template <unsigned kSegment, bool kWrite>
Flow segment_base(Interpreter& s, const Op& op, const Insn& insn) {
  if (!s.is_64bit || (s.state.cr4 & x86::kCr4Fsgsbase) == 0) return undefined_instruction(s, op, insn);
  const Operand& operand = insn.operands[0];
  u64& base = s.state.segment(kSegment).base;
  if (!kWrite) {
    write_gpr(s, operand.reg, operand.size, base);
    return Flow::kNext;
  }
  const u64 value = read_gpr(s, operand.reg, operand.size);
  if (!s.is_canonical(value)) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  base = value;
  return Flow::kNext;
}

Flow swapgs(Interpreter& s, const Op& op, const Insn& insn) {
  if (!s.is_64bit) return undefined_instruction(s, op, insn);
  if (!s.require_cpl0()) return Flow::kFault;
  std::swap(s.state.segment(x86::kGs).base, s.state.kernel_gs_base);
  return Flow::kNext;
}

constexpr SemanticRow kRows[] = {
    {ZYDIS_MNEMONIC_MOV, &move},
    {ZYDIS_MNEMONIC_LDS, &load_far_pointer<x86::kDs>},
    {ZYDIS_MNEMONIC_LES, &load_far_pointer<x86::kEs>},
    {ZYDIS_MNEMONIC_LFS, &load_far_pointer<x86::kFs>},
    {ZYDIS_MNEMONIC_LGS, &load_far_pointer<x86::kGs>},
    {ZYDIS_MNEMONIC_LSS, &load_far_pointer<x86::kSs>},
    {ZYDIS_MNEMONIC_LAR, &load_rights_or_limit<true>},
    {ZYDIS_MNEMONIC_LSL, &load_rights_or_limit<false>},
    {ZYDIS_MNEMONIC_VERR, &verify<false>},
    {ZYDIS_MNEMONIC_VERW, &verify<true>},
    {ZYDIS_MNEMONIC_ARPL, &arpl},
    {ZYDIS_MNEMONIC_RDFSBASE, &segment_base<x86::kFs, false>},
    {ZYDIS_MNEMONIC_RDGSBASE, &segment_base<x86::kGs, false>},
    {ZYDIS_MNEMONIC_WRFSBASE, &segment_base<x86::kFs, true>},
    {ZYDIS_MNEMONIC_WRGSBASE, &segment_base<x86::kGs, true>},
    {ZYDIS_MNEMONIC_SWAPGS, &swapgs},
};

}  // namespace

std::span<const SemanticRow> segment_rows() { return kRows; }

}  // namespace doppel::interp
