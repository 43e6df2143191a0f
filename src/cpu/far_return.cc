// Far RET and IRET. SDM 2A/2B "RET", "IRET".
#include "cpu/core.h"
#include "cpu/stack_frame.h"

namespace doppel {

using x86::Descriptor;
using x86::Selector;

bool Core::far_return(unsigned operand_size, u32 pop_bytes) {
  StackFrame stack(*this, state.segment(x86::kSs), state.gpr[x86::kRsp], operand_size, access_mode);
  u64 rip;
  u64 cs;
  if (!stack.pop(rip) || !stack.pop(cs)) return false;
  const Selector selector{static_cast<u16>(cs)};
  if (is_real_or_v8086()) {
    if (rip > state.segment(x86::kCs).limit) return raise(x86::kVectorGp, 0);
    load_real_segment(x86::kCs, selector.value);
    state.rip = rip;
    stack.skip(pop_bytes);
    state.gpr[x86::kRsp] = stack.offset();
    return true;
  }
  return return_to_outer(operand_size, rip, selector, pop_bytes, false, 0);
}

// Which flags IRET may change at the old privilege level. SDM 2A "IRET/IRETD".
void Core::load_flags_from_iret(u64 flags, unsigned operand_size, unsigned old_cpl) {
  u64 mask = x86::kArithmeticFlags | x86::kFlagTf | x86::kFlagDf | x86::kFlagNt;
  if (operand_size != 2) mask |= x86::kFlagRf | x86::kFlagAc | x86::kFlagId;
  if (old_cpl == 0) mask |= x86::kFlagIopl | (operand_size != 2 ? x86::kFlagVif | x86::kFlagVip : 0);
  if (old_cpl <= iopl()) mask |= x86::kFlagIf;
  state.rflags = (state.rflags & ~mask) | (flags & mask) | x86::kFlagReserved1;
}

// The common part of far RET and IRET in protected and long mode: to the same or an outer level.
bool Core::return_to_outer(unsigned operand_size, u64 rip, Selector selector, u32 pop_bytes, bool is_iret,
                           u64 flags) {
  if (selector.is_null()) return raise(x86::kVectorGp, 0);
  Descriptor code;
  u64 address;
  if (!read_descriptor(selector, code, address, x86::kVectorGp)) return false;
  const u32 error = selector.error_code();
  if (!code.is_code() || selector.rpl() < cpl) return raise(x86::kVectorGp, error);
  if (code.is_conforming() ? code.dpl() > selector.rpl() : code.dpl() != selector.rpl()) {
    return raise(x86::kVectorGp, error);
  }
  if (is_long_mode && code.is_long() && code.is_big()) return raise(x86::kVectorGp, error);
  if (!code.is_present()) return raise(x86::kVectorNp, error);
  const unsigned old_cpl = cpl;
  const unsigned new_cpl = selector.rpl();
  const bool to_64bit = is_long_mode && code.is_long();
  StackFrame stack(*this, state.segment(x86::kSs), state.gpr[x86::kRsp], operand_size, access_mode);
  stack.skip((is_iret ? 3 : 2) * operand_size + pop_bytes);
  Segment ss = state.segment(x86::kSs);
  u64 rsp = stack.offset();
  // 64-bit IRET always pops SS:RSP. SDM 3A 6.14.3.
  const bool pops_stack = new_cpl != old_cpl || (is_iret && is_64bit);
  if (pops_stack) {
    u64 popped_ss;
    if (!stack.pop(rsp) || !stack.pop(popped_ss)) return false;
    const Selector ss_selector{static_cast<u16>(popped_ss)};
    if (ss_selector.is_null()) {
      if (!to_64bit || new_cpl == 3 || ss_selector.rpl() != new_cpl) return raise(x86::kVectorGp, 0);
      ss = {
          .selector = ss_selector.value, .attributes = static_cast<u16>(new_cpl << 5), .limit = 0, .base = 0};
    } else if (!load_stack_segment(ss_selector.value, new_cpl, x86::kVectorGp, ss)) {
      // An absent stack is #SS for RET, but #NP for IRET. SDM 2A "IRET", 2B "RET".
      if (is_iret && fault.vector == x86::kVectorSs) fault.vector = x86::kVectorNp;
      return false;
    }
  }
  if (!to_64bit) rip &= 0xffffffff;  // a 64-bit frame leading to compatibility mode
  if (to_64bit ? !is_canonical(rip) : rip > code.limit()) return raise(x86::kVectorGp, 0);
  if (!set_accessed(code, address)) return false;
  if (is_iret) load_flags_from_iret(flags, operand_size, old_cpl);
  set_segment(state.segment(x86::kCs), selector.value, code);
  state.rip = rip;
  if (pops_stack) {
    const u64 mask = to_64bit ? ~u64{0} : (ss.is_32bit() ? 0xffffffff : 0xffff);
    if (!is_iret) rsp += pop_bytes;
    const u64 merged = (state.gpr[x86::kRsp] & ~mask) | (rsp & mask);
    state.gpr[x86::kRsp] = to_64bit ? rsp : merged & 0xffffffff;
    state.segment(x86::kSs) = ss;
  } else {
    state.gpr[x86::kRsp] = rsp;
  }
  update_mode();
  if (new_cpl != old_cpl) null_unreachable_segments();
  return true;
}

bool Core::interrupt_return(unsigned operand_size, u64 next_rip) {
  state.nmi_blocked = false;
  const bool is_virtual = is_v8086() && iopl() < 3;
  if (is_virtual && ((state.cr4 & x86::kCr4Vme) == 0 || operand_size != 2)) return raise(x86::kVectorGp, 0);
  if (is_protected() && !is_v8086() && (state.rflags & x86::kFlagNt) != 0) {
    if (is_long_mode) return raise(x86::kVectorGp, 0);
    u16 link;
    if (!read_system(state.tr.base & 0xffffffff, link)) return false;
    return switch_task(Selector{link}, TaskSwitch::kIret, next_rip, std::nullopt);
  }
  StackFrame stack(*this, state.segment(x86::kSs), state.gpr[x86::kRsp], operand_size, access_mode);
  u64 rip;
  u64 cs;
  u64 flags;
  if (!stack.pop(rip) || !stack.pop(cs) || !stack.pop(flags)) return false;
  const Selector selector{static_cast<u16>(cs)};
  if (is_real_or_v8086()) {
    if (!return_in_real_or_v8086(rip, selector.value, flags, operand_size)) return false;
    state.gpr[x86::kRsp] = stack.offset();
    return true;
  }
  const bool to_v8086 = operand_size == 4 && (flags & x86::kFlagVm) != 0 && cpl == 0 && !is_long_mode;
  if (to_v8086) return return_to_v8086(rip, cs, flags);
  return return_to_outer(operand_size, rip, selector, 0, true, flags);
}

// With CR4.VME a 16-bit IRET below IOPL 3 acts on VIF in place of IF. SDM 3B 20.3.
bool Core::return_in_real_or_v8086(u64 rip, u16 selector, u64 flags, unsigned operand_size) {
  if (rip > state.segment(x86::kCs).limit) return raise(x86::kVectorGp, 0);
  u64 mask = x86::kArithmeticFlags | x86::kFlagTf | x86::kFlagIf | x86::kFlagDf | x86::kFlagNt;
  if (is_v8086() && iopl() < 3) {
    const bool wants_interrupts = (flags & x86::kFlagIf) != 0;
    const bool is_pending = wants_interrupts && (state.rflags & x86::kFlagVip) != 0;
    if (is_pending || (flags & x86::kFlagTf) != 0) return raise(x86::kVectorGp, 0);
    mask = (mask & ~x86::kFlagIf) | x86::kFlagVif;
    flags = wants_interrupts ? flags | x86::kFlagVif : flags & ~x86::kFlagVif;
  }
  if (!is_v8086()) mask |= x86::kFlagIopl;
  if (operand_size != 2) mask |= x86::kFlagRf | x86::kFlagAc | x86::kFlagId;
  state.rflags = (state.rflags & ~mask) | (flags & mask) | x86::kFlagReserved1;
  load_real_segment(x86::kCs, selector);
  state.rip = rip;
  update_mode();
  return true;
}

// IRETD with VM set in the flags image. SDM 3B 20.2.5.
bool Core::return_to_v8086(u64 rip, u64 cs, u64 flags) {
  StackFrame stack(*this, state.segment(x86::kSs), state.gpr[x86::kRsp], 4, access_mode);
  stack.skip(12);
  u64 values[6];  // ESP, SS, ES, DS, FS, GS
  for (u64& value : values) {
    if (!stack.pop(value)) return false;
  }
  if ((rip & 0xffffffff) > 0xffff) return raise(x86::kVectorGp, 0);
  state.rflags = (flags & 0x3f7fd5) | x86::kFlagReserved1;
  state.gpr[x86::kRsp] = values[0];
  load_real_segment(x86::kCs, static_cast<u16>(cs));
  load_real_segment(x86::kSs, static_cast<u16>(values[1]));
  load_real_segment(x86::kEs, static_cast<u16>(values[2]));
  load_real_segment(x86::kDs, static_cast<u16>(values[3]));
  load_real_segment(x86::kFs, static_cast<u16>(values[4]));
  load_real_segment(x86::kGs, static_cast<u16>(values[5]));
  state.rip = rip;
  update_mode();
  return true;
}

}  // namespace doppel
