// Far JMP and CALL: directly, through call gates and to tasks. SDM 3A 5.8, SDM 2A "CALL", "JMP".
#include "cpu/core.h"
#include "cpu/stack_frame.h"

namespace doppel {

using x86::Descriptor;
using x86::Selector;

// Privilege rules for a direct transfer to a code segment. SDM 3A 5.8.1.
bool Core::check_far_code(Selector selector, const Descriptor& code) {
  const u32 error = selector.error_code();
  if (!code.is_code()) return raise(x86::kVectorGp, error);
  if (code.is_conforming() ? code.dpl() > cpl : (selector.rpl() > cpl || code.dpl() != cpl)) {
    return raise(x86::kVectorGp, error);
  }
  if (is_long_mode && code.is_long() && code.is_big()) return raise(x86::kVectorGp, error);
  if (!code.is_present()) return raise(x86::kVectorNp, error);
  return true;
}

// Loads CS:RIP at privilege `new_cpl`. Checks the target offset against the new segment.
bool Core::transfer_to_code(u16 selector, Descriptor code, u64 address, u64 offset, unsigned new_cpl) {
  const bool is_64bit_target = is_long_mode && code.is_long();
  if (is_64bit_target ? !is_canonical(offset) : offset > code.limit()) return raise(x86::kVectorGp, 0);
  if (!set_accessed(code, address)) return false;
  set_segment(state.segment(x86::kCs), static_cast<u16>((selector & ~3u) | new_cpl), code);
  state.rip = offset;
  update_mode();
  return true;
}

bool Core::far_jump(u16 selector, u64 offset, unsigned operand_size, u64 next_rip) {
  if (operand_size == 2) offset &= 0xffff;
  if (is_real_or_v8086()) {
    if (offset > state.segment(x86::kCs).limit) return raise(x86::kVectorGp, 0);
    load_real_segment(x86::kCs, selector);
    state.rip = offset;
    return true;
  }
  const Selector sel{selector};
  if (sel.is_null()) return raise(x86::kVectorGp, 0);
  Descriptor descriptor;
  u64 address;
  if (!read_descriptor(sel, descriptor, address, x86::kVectorGp)) return false;
  if (descriptor.is_code_or_data()) {
    if (!check_far_code(sel, descriptor)) return false;
    return transfer_to_code(selector, descriptor, address, offset, cpl);
  }
  return call_through_gate(sel, descriptor, address, next_rip, false);
}

bool Core::far_call(u16 selector, u64 offset, unsigned operand_size, u64 return_rip) {
  if (operand_size == 2) offset &= 0xffff;
  const u16 old_cs = state.segment(x86::kCs).selector;
  StackFrame stack(*this, state.segment(x86::kSs), state.gpr[x86::kRsp], operand_size, access_mode);
  if (is_real_or_v8086()) {
    if (!stack.push(old_cs) || !stack.push(return_rip)) return false;
    if (offset > state.segment(x86::kCs).limit) return raise(x86::kVectorGp, 0);
    load_real_segment(x86::kCs, selector);
    state.rip = offset;
    state.gpr[x86::kRsp] = stack.offset();
    return true;
  }
  const Selector sel{selector};
  if (sel.is_null()) return raise(x86::kVectorGp, 0);
  Descriptor descriptor;
  u64 address;
  if (!read_descriptor(sel, descriptor, address, x86::kVectorGp)) return false;
  if (!descriptor.is_code_or_data()) return call_through_gate(sel, descriptor, address, return_rip, true);
  if (!check_far_code(sel, descriptor) || !stack.push(old_cs) || !stack.push(return_rip)) return false;
  if (!transfer_to_code(selector, descriptor, address, offset, cpl)) return false;
  state.gpr[x86::kRsp] = stack.offset();
  return true;
}

// A system descriptor as the target: call gate, task gate or TSS. SDM 3A 5.8.3.
bool Core::call_through_gate(Selector gate_selector, Descriptor gate, u64 gate_address, u64 return_rip,
                             bool is_call) {
  const u32 error = gate_selector.error_code();
  const unsigned type = gate.type();
  const bool is_tss = (type & 0x5) == 1;  // 1, 3, 9, 11
  const bool is_call_gate = type == x86::kCallGate32 || (type == x86::kCallGate16 && !is_long_mode);
  const bool is_task = (is_tss || type == x86::kTaskGate) && !is_long_mode;
  if (!is_call_gate && !is_task) return raise(x86::kVectorGp, error);
  if (gate.dpl() < cpl || gate.dpl() < gate_selector.rpl()) return raise(x86::kVectorGp, error);
  if (is_task) {
    if (!gate.is_present()) return raise(x86::kVectorNp, error);
    const Selector tss = type == x86::kTaskGate ? Selector{gate.gate_selector()} : gate_selector;
    return switch_task(tss, is_call ? TaskSwitch::kCall : TaskSwitch::kJump, return_rip, std::nullopt);
  }
  u64 offset = type == x86::kCallGate32 ? gate.gate_offset() : gate.gate_offset() & 0xffff;
  unsigned size = type == x86::kCallGate32 ? 4 : 2;
  if (is_long_mode) {
    u64 upper;
    if (!read_system(gate_address + 8, upper)) return false;
    if ((upper >> 40 & 0x1f) != 0) return raise(x86::kVectorGp, error);
    offset |= upper << 32;
    size = 8;
  }
  if (!gate.is_present()) return raise(x86::kVectorNp, error);
  const Selector target{gate.gate_selector()};
  if (target.is_null()) return raise(x86::kVectorGp, 0);
  Descriptor code;
  u64 address;
  if (!read_descriptor(target, code, address, x86::kVectorGp)) return false;
  if (!code.is_code() || code.dpl() > cpl) return raise(x86::kVectorGp, target.error_code());
  if (is_long_mode && (!code.is_long() || code.is_big())) return raise(x86::kVectorGp, target.error_code());
  if (!is_call && !code.is_conforming() && code.dpl() != cpl)
    return raise(x86::kVectorGp, target.error_code());
  if (!code.is_present()) return raise(x86::kVectorNp, target.error_code());
  if (!is_call) return transfer_to_code(target.value, code, address, offset, cpl);
  if (!code.is_conforming() && code.dpl() < cpl) {
    const unsigned parameters = is_long_mode ? 0 : gate.gate_parameters();
    return call_inner({target, code, address, offset}, size, parameters, return_rip);
  }
  StackFrame stack(*this, state.segment(x86::kSs), state.gpr[x86::kRsp], size, access_mode);
  if (!stack.push(state.segment(x86::kCs).selector) || !stack.push(return_rip)) return false;
  if (!transfer_to_code(target.value, code, address, offset, cpl)) return false;
  state.gpr[x86::kRsp] = stack.offset();
  return true;
}

// A call gate to a more privileged level: switches stacks and copies parameters.
bool Core::call_inner(const GateTarget& target, unsigned size, unsigned parameters, u64 return_rip) {
  const unsigned new_cpl = target.code.dpl();
  const Segment old_ss = state.segment(x86::kSs);
  const u64 old_rsp = state.gpr[x86::kRsp];
  Segment ss = {.selector = static_cast<u16>(new_cpl), .attributes = static_cast<u16>(new_cpl << 5)};
  u64 rsp = 0;
  if (is_long_mode) {
    const unsigned slot = 4 + new_cpl * 8;
    if (slot + 7 > state.tr.limit) return raise(x86::kVectorTs, state.tr.selector & 0xfffc);
    if (!read_system(state.tr.base + slot, rsp)) return false;
    if (!is_canonical(rsp)) return raise(x86::kVectorSs, 0);
  } else if (!inner_stack(new_cpl, 0, ss, rsp)) {
    return false;
  }
  // Pushes are 64-bit when the target is long, whatever mode the caller is in.
  const bool was_64bit = is_64bit;
  StackFrame from(*this, old_ss, old_rsp, size, access_mode);
  is_64bit = is_long_mode;
  StackFrame to(*this, ss, rsp, size, kSupervisor);
  is_64bit = was_64bit;
  to.set_error_code(ss.selector & 0xfffc);
  bool is_done = to.push(old_ss.selector) && to.push(old_rsp);
  for (unsigned i = parameters; is_done && i > 0; --i) {
    u64 value;
    is_done = from.peek(i - 1, value) && to.push(value);
  }
  is_done = is_done && to.push(state.segment(x86::kCs).selector) && to.push(return_rip);
  if (!is_done ||
      !transfer_to_code(target.selector.value, target.code, target.code_address, target.offset, new_cpl)) {
    return false;
  }
  state.segment(x86::kSs) = ss;
  state.gpr[x86::kRsp] = to.offset();
  update_mode();
  return true;
}

}  // namespace doppel
