// Control transfers outside the specialised 64-bit handlers: legacy modes, LOOP, far transfers, INT, IRET.
// SDM 2A-2B.
#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

// Is `target` a legal RIP in the current code segment?
bool check_target(Interpreter& s, u64 target) {
  if (s.is_64bit) return s.is_canonical(target) || s.raise(x86::kVectorGp, 0);
  return target <= s.state.segment(x86::kCs).limit || s.raise(x86::kVectorGp, 0);
}

// Near targets are truncated to the operand size; in 64-bit code that is always 64.
u64 near_mask(const Interpreter& s, const Insn& insn) {
  if (s.is_64bit) return ~u64{0};
  return insn.operand_size == 2 ? 0xffff : 0xffffffff;
}

unsigned near_size(const Interpreter& s, const Insn& insn) { return s.is_64bit ? 8 : insn.operand_size; }

u64 relative_target(Interpreter& s, const Op& op, const Insn& insn) {
  return (s.state.rip + op.length + insn.immediate) & near_mask(s, insn);
}

bool go_to(Interpreter& s, u64 target) {
  if (!check_target(s, target)) return false;
  s.state.rip = target;
  return true;
}

// Far pointer operand: immediate, or offset and selector in memory.
bool read_far_pointer(Interpreter& s, const Op& op, const Insn& insn, u16& selector, u64& offset) {
  if (insn.operands[0].kind == OperandKind::kFar) {
    selector = static_cast<u16>(insn.immediate2);
    offset = insn.immediate & size_mask(insn.operand_size);
    return true;
  }
  const unsigned size = insn.operands[0].size - 2u;
  u64 va;
  offset = 0;
  return memory_address(s, op, size + 2, false, va) && s.read_linear(va, &offset, size, s.access_mode) &&
         s.read_linear(va + size, &selector, 2, s.access_mode);
}

bool is_far(const Insn& insn) {
  if (insn.operands[0].kind == OperandKind::kFar) return true;
  return insn.opcode == 0xff && (insn.modrm_reg == 3 || insn.modrm_reg == 5);
}

Flow jump(Interpreter& s, const Op& op, const Insn& insn) {
  if (is_far(insn)) {
    u16 selector;
    u64 offset;
    if (!read_far_pointer(s, op, insn, selector, offset)) return Flow::kFault;
    return jump_of(s.far_jump(selector, offset, insn.operand_size, next_rip(s, op)));
  }
  if (insn.operands[0].kind == OperandKind::kImmediate)
    return jump_of(go_to(s, relative_target(s, op, insn)));
  u64 target;
  if (!read_operand(s, op, insn, 0, target)) return Flow::kFault;
  return jump_of(go_to(s, target & near_mask(s, insn)));
}

Flow call(Interpreter& s, const Op& op, const Insn& insn) {
  const u64 return_rip = next_rip(s, op);
  if (is_far(insn)) {
    u16 selector;
    u64 offset;
    if (!read_far_pointer(s, op, insn, selector, offset)) return Flow::kFault;
    return jump_of(s.far_call(selector, offset, insn.operand_size, return_rip));
  }
  u64 target = relative_target(s, op, insn);
  if (insn.operands[0].kind != OperandKind::kImmediate) {
    if (!read_operand(s, op, insn, 0, target)) return Flow::kFault;
    target &= near_mask(s, insn);
  }
  if (!check_target(s, target) || !s.push(return_rip, near_size(s, insn))) return Flow::kFault;
  s.state.rip = target;
  return Flow::kJump;
}

Flow return_near_or_far(Interpreter& s, const Op&, const Insn& insn) {
  const u32 extra = insn.operands[0].kind == OperandKind::kImmediate ? insn.immediate & 0xffff : 0;
  if (insn.opcode == 0xca || insn.opcode == 0xcb) return jump_of(s.far_return(insn.operand_size, extra));
  const u64 old_rsp = s.state.gpr[x86::kRsp];
  u64 target;
  if (!s.pop(target, near_size(s, insn))) return Flow::kFault;
  if (!go_to(s, target)) {
    s.state.gpr[x86::kRsp] = old_rsp;
    return Flow::kFault;
  }
  const u64 mask = s.stack_mask();
  u64& rsp = s.state.gpr[x86::kRsp];
  rsp = (rsp & ~mask) | ((rsp + extra) & mask);
  return Flow::kJump;
}

bool is_taken(u64 rflags, unsigned code) {
  const u64 flags = pack_flags(rflags);
  switch (code & 0xe) {
    case 0:
      return condition<0>(flags) != ((code & 1) != 0);
    case 2:
      return condition<2>(flags) != ((code & 1) != 0);
    case 4:
      return condition<4>(flags) != ((code & 1) != 0);
    case 6:
      return condition<6>(flags) != ((code & 1) != 0);
    case 8:
      return condition<8>(flags) != ((code & 1) != 0);
    case 10:
      return condition<10>(flags) != ((code & 1) != 0);
    case 12:
      return condition<12>(flags) != ((code & 1) != 0);
    default:
      return condition<14>(flags) != ((code & 1) != 0);
  }
}

Flow branch_if(Interpreter& s, const Op& op, const Insn& insn, bool taken) {
  return jump_of(go_to(s, taken ? relative_target(s, op, insn) : next_rip(s, op)));
}

Flow jcc(Interpreter& s, const Op& op, const Insn& insn) {
  return branch_if(s, op, insn, is_taken(s.state.rflags, insn.opcode & 0xf));
}

u64 counter_mask(const Op& op) {
  switch (op.address_mode & kAddressSizeMask) {
    case kAddress16:
      return 0xffff;
    case kAddress32:
      return 0xffffffff;
    default:
      return ~u64{0};
  }
}

Flow jcxz(Interpreter& s, const Op& op, const Insn& insn) {
  return branch_if(s, op, insn, (s.state.gpr[x86::kRcx] & counter_mask(op)) == 0);
}

// LOOP, LOOPE, LOOPNE; the counter changes only if the branch does not fault.
Flow loop(Interpreter& s, const Op& op, const Insn& insn) {
  const u64 mask = counter_mask(op);
  const u64 count = (s.state.gpr[x86::kRcx] - 1) & mask;
  const bool is_zero = (s.state.rflags & x86::kFlagZf) != 0;
  bool taken = count != 0;
  if (insn.mnemonic == ZYDIS_MNEMONIC_LOOPE) taken = taken && is_zero;
  if (insn.mnemonic == ZYDIS_MNEMONIC_LOOPNE) taken = taken && !is_zero;
  const Flow flow = branch_if(s, op, insn, taken);
  if (flow == Flow::kFault) return flow;
  write_gpr(s, x86::kRcx * 8, mask == 0xffff ? 2 : (mask == 0xffffffff ? 4 : 8), count);
  return flow;
}

Flow software_event(Interpreter& s, const Op& op, u8 vector, EventSource source) {
  s.suppress_step = true;
  return jump_of(s.software_interrupt(vector, source, next_rip(s, op)));
}

Flow int_n(Interpreter& s, const Op& op, const Insn& insn) {
  return software_event(s, op, static_cast<u8>(insn.immediate), EventSource::kSoftwareInt);
}
Flow int3(Interpreter& s, const Op& op, const Insn&) {
  return software_event(s, op, x86::kVectorBp, EventSource::kSoftwareException);
}
// INT1: a #DB that privilege checks do not apply to. SDM 2A "INT n/INTO/INT3/INT1".
Flow int1(Interpreter& s, const Op& op, const Insn&) {
  return software_event(s, op, x86::kVectorDb, EventSource::kHardware);
}
Flow into(Interpreter& s, const Op& op, const Insn&) {
  if ((s.state.rflags & x86::kFlagOf) == 0) {
    s.state.rip = next_rip(s, op);
    return Flow::kJump;
  }
  return software_event(s, op, x86::kVectorOf, EventSource::kSoftwareException);
}

Flow iret(Interpreter& s, const Op& op, const Insn& insn) {
  return jump_of(s.interrupt_return(insn.operand_size, next_rip(s, op)));
}

// Intel's processors address both bounds at once, and do not read the upper one for an index below the lower;
// AMD's address and read each by itself, first of all.
bool read_bounds(Interpreter& s, const Op& op, unsigned size, i64 index, i64& lower, i64& upper) {
  const bool is_amd = s.cpuid.is_amd();
  u64 va;
  u64 low = 0;
  u64 high = 0;
  if (!memory_address(s, op, is_amd ? size : 2 * size, false, va) ||
      !s.read_linear(va, &low, size, s.access_mode)) {
    return false;
  }
  lower = upper = sign_extend(low, size);
  if (index < lower && !is_amd) return true;
  va += size;
  if (is_amd && !part_address(s, op, size, size, false, va)) return false;
  if (!s.read_linear(va, &high, size, s.access_mode)) return false;
  upper = sign_extend(high, size);
  return true;
}

Flow bound(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = insn.operands[0].size;
  const i64 index = sign_extend(read_gpr(s, insn.operands[0].reg, size), size);
  i64 lower;
  i64 upper;
  if (!read_bounds(s, op, size, index, lower, upper)) return Flow::kFault;
  if (index < lower || index > upper) return s.raise(x86::kVectorBr), Flow::kFault;
  return Flow::kNext;
}

#define FLOW_ROW(mnemonic, function) {mnemonic, function, true}
constexpr SemanticRow kRows[] = {
    FLOW_ROW(ZYDIS_MNEMONIC_JMP, &jump),
    FLOW_ROW(ZYDIS_MNEMONIC_CALL, &call),
    FLOW_ROW(ZYDIS_MNEMONIC_RET, &return_near_or_far),
    FLOW_ROW(ZYDIS_MNEMONIC_JO, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JNO, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JB, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JNB, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JZ, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JNZ, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JBE, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JNBE, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JS, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JNS, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JP, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JNP, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JL, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JNL, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JLE, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JNLE, &jcc),
    FLOW_ROW(ZYDIS_MNEMONIC_JCXZ, &jcxz),
    FLOW_ROW(ZYDIS_MNEMONIC_JECXZ, &jcxz),
    FLOW_ROW(ZYDIS_MNEMONIC_JRCXZ, &jcxz),
    FLOW_ROW(ZYDIS_MNEMONIC_LOOP, &loop),
    FLOW_ROW(ZYDIS_MNEMONIC_LOOPE, &loop),
    FLOW_ROW(ZYDIS_MNEMONIC_LOOPNE, &loop),
    FLOW_ROW(ZYDIS_MNEMONIC_INT, &int_n),
    FLOW_ROW(ZYDIS_MNEMONIC_INT1, &int1),
    FLOW_ROW(ZYDIS_MNEMONIC_INT3, &int3),
    FLOW_ROW(ZYDIS_MNEMONIC_INTO, &into),
    FLOW_ROW(ZYDIS_MNEMONIC_IRET, &iret),
    FLOW_ROW(ZYDIS_MNEMONIC_IRETD, &iret),
    FLOW_ROW(ZYDIS_MNEMONIC_IRETQ, &iret),
    {ZYDIS_MNEMONIC_BOUND, &bound},
};

}  // namespace

std::span<const SemanticRow> flow_rows() { return kRows; }

}  // namespace doppel::interp
