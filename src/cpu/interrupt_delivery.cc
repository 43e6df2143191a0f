// Delivery of interrupts and exceptions through the IVT and the IDT. SDM 3A chapter 6.
#include "base/log.h"
#include "cpu/core.h"
#include "cpu/stack_frame.h"

namespace doppel {

using x86::Descriptor;
using x86::Selector;

namespace {

// SDM 3A table 6-5: classes that decide between serial delivery and #DF.
enum class FaultClass { kBenign, kContributory, kPageFault };

FaultClass class_of(const Fault& fault, EventSource source) {
  if (source != EventSource::kException) return FaultClass::kBenign;
  switch (fault.vector) {
    case x86::kVectorDe:
    case x86::kVectorTs:
    case x86::kVectorNp:
    case x86::kVectorSs:
    case x86::kVectorGp:
      return FaultClass::kContributory;
    case x86::kVectorPf:
      return FaultClass::kPageFault;
    default:
      return FaultClass::kBenign;
  }
}

bool makes_double_fault(FaultClass first, FaultClass second) {
  if (second == FaultClass::kBenign || first == FaultClass::kBenign) return false;
  return first == FaultClass::kPageFault || second == FaultClass::kContributory;
}

bool is_software(EventSource source) {
  return source == EventSource::kSoftwareInt || source == EventSource::kSoftwareException;
}

// Faults report the flags image with RF set so that the restarted instruction runs; events between
// repetitions of a string instruction report the RF that the engine set there. SDM 3B 17.3.1.1.
bool is_fault_class(u8 vector) {
  switch (vector) {
    case x86::kVectorDb:
    case x86::kVectorNmi:
    case x86::kVectorBp:
    case x86::kVectorOf:
    case x86::kVectorDf:
    case x86::kVectorMc:
      return false;
    default:
      return true;
  }
}

u64 flags_image(const CpuState& state, const Fault& event, EventSource source) {
  u64 flags = state.rflags & ~x86::kFlagRf;
  if (source == EventSource::kException && is_fault_class(event.vector)) flags |= x86::kFlagRf;
  if (!is_software(source)) flags |= state.rflags & x86::kFlagRf;
  return flags;
}

u32 idt_error_code(u8 vector, u32 ext) { return u32{vector} * 8 + 2 + ext; }

}  // namespace

bool Core::deliver(Fault event, EventSource source, u64 return_rip) {
  for (;;) {
    // SDM 3B 17.2.4: entering the debug exception handler ends general detection.
    if (event.vector == x86::kVectorDb && source == EventSource::kException) state.dr7 &= ~x86::kDr7Gd;
    has_fault = false;
    state.activity = Activity::kRunning;
    if (deliver_once(event, source, return_rip)) {
      has_fault = false;
      return true;
    }
    const Fault second = fault;
    if (event.vector == x86::kVectorDf && source == EventSource::kException) {
      has_fault = false;
      state.activity = Activity::kShutdown;
      LOG_GUEST("triple fault at {:#x}", return_rip);
      return false;
    }
    if (makes_double_fault(class_of(event, source), class_of(second, EventSource::kException))) {
      event = {x86::kVectorDf, true, 0};
    } else {
      event = second;
    }
    source = EventSource::kException;
    // A fault behind the point of no return of a task switch belongs to the new task. SDM 3A 7.3.
    return_rip = state.rip;
  }
}

bool Core::deliver_once(Fault event, EventSource source, u64 return_rip) {
  if (!is_protected()) return deliver_real(event.vector, return_rip);
  if (is_long_mode) return deliver_long(event, source, return_rip);
  return deliver_protected(event, source, return_rip);
}

bool Core::software_interrupt(u8 vector, EventSource source, u64 return_rip) {
  if (is_v8086() && source == EventSource::kSoftwareInt) {
    bool is_redirected = false;
    if ((state.cr4 & x86::kCr4Vme) != 0 && !find_redirection(vector, is_redirected)) return false;
    if (is_redirected) return enter_v8086_handler(vector, return_rip);
    if (iopl() < 3) return raise(x86::kVectorGp, 0);
  }
  return deliver_once({vector, false, 0}, source, return_rip);
}

// The bitmap of the 32 bytes below the I/O bitmap: a clear bit keeps INT n inside virtual-8086 mode. SDM
// 3B 20.3.3.
bool Core::find_redirection(u8 vector, bool& is_redirected) {
  const bool is_wide = (state.tr.type() & 8) != 0;
  if (!state.tr.is_usable() || !is_wide || state.tr.limit < 103) return raise(x86::kVectorGp, 0);
  u16 map_base;
  if (!read_system((state.tr.base + 102) & 0xffffffff, map_base)) return false;
  const u32 offset = map_base + vector / 8u;
  if (offset < 32 || offset - 32 > state.tr.limit) return raise(x86::kVectorGp, 0);
  u8 map;
  if (!read_system((state.tr.base + offset - 32) & 0xffffffff, map)) return false;
  is_redirected = !bit(map, vector % 8);
  return true;
}

// Methods 5 and 6 of SDM 3B table 20-2: below IOPL 3 the program sees VIF in place of IF, and IOPL 3.
bool Core::enter_v8086_handler(u8 vector, u64 return_rip) {
  const bool is_virtual = iopl() < 3;
  u64 flags = state.rflags;
  if (is_virtual) {
    const bool has_interrupts = (flags & x86::kFlagVif) != 0;
    flags = (flags & ~x86::kFlagIf) | x86::kFlagIopl | (has_interrupts ? x86::kFlagIf : 0);
  }
  if (!enter_vector_table(0, vector, flags, return_rip)) return false;
  state.rflags &= ~(x86::kFlagTf | x86::kFlagRf | (is_virtual ? x86::kFlagVif : x86::kFlagIf));
  return true;
}

// Real mode. SDM 3B 20.1.4.
bool Core::deliver_real(u8 vector, u64 return_rip) {
  if (u64{vector} * 4 + 3 > state.idtr.limit) return raise(x86::kVectorGp, 0);
  if (!enter_vector_table(state.idtr.base, vector, state.rflags, return_rip)) return false;
  state.rflags &= ~(x86::kFlagIf | x86::kFlagTf | x86::kFlagAc | x86::kFlagRf);
  update_mode();
  return true;
}

// Through a table of four-byte far pointers.
bool Core::enter_vector_table(u64 table, u8 vector, u64 flags, u64 return_rip) {
  u32 entry;
  if (!read_system((table + u64{vector} * 4) & 0xffffffff, entry)) return false;
  StackFrame stack(*this, state.segment(x86::kSs), state.gpr[x86::kRsp], 2, access_mode);
  if (!stack.push(flags & 0xffff) || !stack.push(state.segment(x86::kCs).selector) ||
      !stack.push(return_rip & 0xffff)) {
    return false;
  }
  state.gpr[x86::kRsp] = stack.offset();
  load_real_segment(x86::kCs, static_cast<u16>(entry >> 16));
  state.rip = entry & 0xffff;
  return true;
}

// Reads and checks the gate. SDM 3A 6.12.1.
bool Core::read_gate(const Fault& event, EventSource source, Descriptor& gate, u64& offset) {
  const u32 ext = is_software(source) ? 0 : 1;
  const u32 code = idt_error_code(event.vector, ext);
  const unsigned size = is_long_mode ? 16 : 8;
  if (u64{event.vector} * size + size - 1 > state.idtr.limit) return raise(x86::kVectorGp, code);
  u64 raw[2] = {};
  u64 va = state.idtr.base + u64{event.vector} * size;
  if (!is_long_mode) va &= 0xffffffff;
  if (!read_linear(va, raw, size, kSupervisor)) return false;
  gate.raw = raw[0];
  const unsigned type = gate.type();
  const bool is_wide = type == x86::kInterruptGate32 || type == x86::kTrapGate32;
  const bool is_narrow = type == x86::kInterruptGate16 || type == x86::kTrapGate16 || type == x86::kTaskGate;
  const bool is_valid = !gate.is_code_or_data() && (is_wide || (is_narrow && !is_long_mode));
  if (!is_valid) return raise(x86::kVectorGp, code);
  if (is_software(source) && gate.dpl() < cpl) return raise(x86::kVectorGp, code);
  if (!gate.is_present()) return raise(x86::kVectorNp, code);
  offset = gate.gate_offset() | (is_long_mode ? raw[1] << 32 : 0);
  if (is_narrow) offset &= 0xffff;
  return true;
}

// The code segment a gate leads to.
bool Core::read_gate_target(Selector selector, u32 ext, Descriptor& code, u64& address) {
  if (selector.is_null()) return raise(x86::kVectorGp, ext);
  if (!read_descriptor(selector, code, address, x86::kVectorGp)) {
    if (fault.vector == x86::kVectorGp) fault.error_code |= ext;
    return false;
  }
  const u32 error = selector.error_code() | ext;
  if (!code.is_code() || code.dpl() > cpl) return raise(x86::kVectorGp, error);
  if (is_long_mode && (!code.is_long() || code.is_big())) return raise(x86::kVectorGp, error);
  if (!code.is_present()) return raise(x86::kVectorNp, error);
  return true;
}

bool Core::deliver_long(const Fault& event, EventSource source, u64 return_rip) {
  const u32 ext = is_software(source) ? 0 : 1;
  Descriptor gate;
  u64 offset;
  if (!read_gate(event, source, gate, offset)) return false;
  const Selector target{gate.gate_selector()};
  Descriptor code;
  u64 address;
  if (!read_gate_target(target, ext, code, address)) return false;
  const unsigned new_cpl = code.is_conforming() ? cpl : code.dpl();
  u64 rsp = state.gpr[x86::kRsp];
  if (gate.gate_ist() != 0 || new_cpl != cpl) {
    const unsigned slot = gate.gate_ist() != 0 ? 36 + (gate.gate_ist() - 1) * 8 : 4 + new_cpl * 8;
    if (slot + 7 > state.tr.limit) return raise(x86::kVectorTs, (state.tr.selector & 0xfffc) | ext);
    if (!read_system(state.tr.base + slot, rsp)) return false;
  }
  if (!is_canonical(rsp)) return raise(x86::kVectorSs, ext);
  if (!is_canonical(offset)) return raise(x86::kVectorGp, ext);
  rsp &= ~u64{15};
  const u64 flags = flags_image(state, event, source);
  const Segment& ss = state.segment(x86::kSs);
  const Segment& cs = state.segment(x86::kCs);
  u64 frame[6] = {event.error_code, return_rip, cs.selector, flags, state.gpr[x86::kRsp], ss.selector};
  const unsigned skip = event.has_error_code ? 0 : 1;
  const unsigned bytes = (6 - skip) * 8;
  if (!is_canonical(rsp - bytes) || !is_canonical(rsp - 1)) return raise(x86::kVectorSs, ext);
  const AccessMode mode = new_cpl == 3 ? kUser : kSupervisor;
  if (!write_linear(rsp - bytes, frame + skip, bytes, mode)) return false;
  if (!set_accessed(code, address)) return false;
  state.gpr[x86::kRsp] = rsp - bytes;
  if (new_cpl != cpl) {
    state.segment(x86::kSs) = {.selector = static_cast<u16>(new_cpl),
                               .attributes = static_cast<u16>(new_cpl << 5),
                               .limit = 0,
                               .base = 0};
  }
  set_segment(state.segment(x86::kCs), static_cast<u16>((target.value & ~3u) | new_cpl), code);
  state.rip = offset;
  u64 cleared = x86::kFlagTf | x86::kFlagNt | x86::kFlagRf | x86::kFlagVm;
  if (gate.type() == x86::kInterruptGate32) cleared |= x86::kFlagIf;
  state.rflags &= ~cleared;
  update_mode();
  return true;
}

bool Core::deliver_protected(const Fault& event, EventSource source, u64 return_rip) {
  const u32 ext = is_software(source) ? 0 : 1;
  Descriptor gate;
  u64 offset;
  if (!read_gate(event, source, gate, offset)) return false;
  const u64 saved_flags = state.rflags;
  state.rflags = flags_image(state, event, source);
  if (gate.type() == x86::kTaskGate) {
    const std::optional<u32> error = event.has_error_code ? std::optional(event.error_code) : std::nullopt;
    const u64 old_task = state.tr.base;
    if (switch_task(Selector{gate.gate_selector()}, TaskSwitch::kInterrupt, return_rip, error)) return true;
    if (fault.has_error_code && fault.vector != x86::kVectorPf) fault.error_code |= ext;
    if (state.tr.base == old_task) state.rflags = saved_flags;
    return false;
  }
  const bool is_done = enter_protected_gate(event, return_rip, gate, ext);
  if (!is_done) state.rflags = saved_flags;
  return is_done;
}

// SS:ESP for an inner level from the current TSS. SDM 3A 7.2.
bool Core::inner_stack(unsigned level, u32 ext, Segment& ss, u64& esp) {
  const bool is_wide = (state.tr.type() & 8) != 0;
  const unsigned slot = is_wide ? 4 + level * 8 : 2 + level * 4;
  const unsigned bytes = is_wide ? 6 : 4;
  if (slot + bytes - 1 > state.tr.limit) return raise(x86::kVectorTs, (state.tr.selector & 0xfffc) | ext);
  u8 raw[6] = {};
  if (!read_linear((state.tr.base + slot) & 0xffffffff, raw, bytes, kSupervisor)) return false;
  const u32 low = raw[0] | raw[1] << 8;
  esp = is_wide ? low | u32{raw[2]} << 16 | u32{raw[3]} << 24 : low;
  const u16 selector =
      is_wide ? static_cast<u16>(raw[4] | raw[5] << 8) : static_cast<u16>(raw[2] | raw[3] << 8);
  if (!load_stack_segment(selector, level, x86::kVectorTs, ss)) {
    if (fault.has_error_code && fault.vector != x86::kVectorPf) fault.error_code |= ext;
    return false;
  }
  return true;
}

bool Core::enter_protected_gate(const Fault& event, u64 return_rip, Descriptor gate, u32 ext) {
  const Selector target{gate.gate_selector()};
  const bool is_wide = (gate.type() & 8) != 0;
  const unsigned size = is_wide ? 4 : 2;
  Descriptor code;
  u64 address;
  if (!read_gate_target(target, ext, code, address)) return false;
  const unsigned new_cpl = code.is_conforming() ? cpl : code.dpl();
  if (is_v8086() && new_cpl != 0) return raise(x86::kVectorGp, target.error_code() | ext);
  const u64 offset = is_wide ? gate.gate_offset() : gate.gate_offset() & 0xffff;
  Segment ss = state.segment(x86::kSs);
  u64 esp = state.gpr[x86::kRsp];
  if (new_cpl != cpl && !inner_stack(new_cpl, ext, ss, esp)) return false;
  StackFrame stack(*this, ss, esp, size, new_cpl == 3 ? kUser : kSupervisor);
  stack.set_error_code(new_cpl != cpl ? ((ss.selector & 0xfffcu) | ext) : ext);
  bool is_pushed = true;
  if (is_v8086()) {
    for (const unsigned index : {x86::kGs, x86::kFs, x86::kDs, x86::kEs}) {
      is_pushed = is_pushed && stack.push(state.segment(index).selector);
    }
  }
  if (new_cpl != cpl) {
    is_pushed = is_pushed && stack.push(state.segment(x86::kSs).selector) && stack.push(state.gpr[x86::kRsp]);
  }
  is_pushed = is_pushed && stack.push(state.rflags) && stack.push(state.segment(x86::kCs).selector) &&
              stack.push(return_rip);
  if (is_pushed && event.has_error_code) is_pushed = stack.push(event.error_code);
  if (!is_pushed) return false;
  if (offset > code.limit()) return raise(x86::kVectorGp, ext);
  if (!set_accessed(code, address)) return false;
  if (is_v8086()) {
    for (const unsigned index : {x86::kEs, x86::kDs, x86::kFs, x86::kGs}) state.segment(index) = Segment{};
  }
  state.segment(x86::kSs) = ss;
  state.gpr[x86::kRsp] = stack.offset();
  set_segment(state.segment(x86::kCs), static_cast<u16>((target.value & ~3u) | new_cpl), code);
  state.rip = offset;
  u64 cleared = x86::kFlagTf | x86::kFlagNt | x86::kFlagRf | x86::kFlagVm;
  if ((gate.type() & 1) == 0) cleared |= x86::kFlagIf;
  state.rflags &= ~cleared;
  update_mode();
  return true;
}

}  // namespace doppel
