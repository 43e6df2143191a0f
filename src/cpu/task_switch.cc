// Hardware task switching. SDM 3A 7.3.
#include <array>
#include <cstring>

#include "cpu/core.h"
#include "cpu/stack_frame.h"

namespace doppel {

using x86::Descriptor;
using x86::Selector;

// The dynamic part of a TSS in a form common to both sizes. SDM 3A figures 7-2 and 7-10.
struct TaskImage {
  u32 cr3 = 0;
  u32 eip = 0;
  u32 eflags = 0;
  std::array<u32, 8> gpr = {};
  std::array<u16, 6> selectors = {};  // ES, CS, SS, DS, FS, GS
  u16 ldt = 0;
  bool traps = false;
};

namespace {

constexpr u64 kBusy = u64{2} << 40;

constexpr unsigned kTss32Size = 104;
constexpr unsigned kTss16Size = 44;

u32 get(const u8* data, unsigned offset, unsigned size) {
  u32 value = 0;
  std::memcpy(&value, data + offset, size);
  return value;
}

TaskImage decode(const u8* data, bool is_wide) {
  TaskImage image;
  const unsigned size = is_wide ? 4 : 2;
  if (is_wide) image.cr3 = get(data, 28, 4);
  const unsigned start = is_wide ? 32 : 14;
  image.eip = get(data, start, size);
  image.eflags = get(data, start + size, size);
  for (unsigned i = 0; i < 8; ++i) image.gpr[i] = get(data, start + (2 + i) * size, size);
  const unsigned count = is_wide ? 6 : 4;
  for (unsigned i = 0; i < count; ++i) {
    image.selectors[i] = static_cast<u16>(get(data, start + (10 + i) * size, 2));
  }
  image.ldt = static_cast<u16>(get(data, start + (10 + count) * size, 2));
  image.traps = is_wide && (data[100] & 1) != 0;
  return image;
}

// Saves the outgoing task; only the dynamic fields are written.
bool save(Core& core, u64 base, bool is_wide, u64 return_rip, u64 flags) {
  const unsigned size = is_wide ? 4 : 2;
  u8 data[kTss32Size] = {};
  auto put = [&](unsigned slot, u64 value) { std::memcpy(data + slot * size, &value, size); };
  put(0, return_rip);
  put(1, flags);
  for (unsigned i = 0; i < 8; ++i) put(2 + i, core.state.gpr[i]);
  const unsigned count = is_wide ? 6 : 4;
  for (unsigned i = 0; i < count; ++i) put(10 + i, core.state.segment(i).selector);
  return core.write_linear((base + (is_wide ? 32 : 14)) & 0xffffffff, data, (10 + count) * size, kSupervisor);
}

bool set_busy(Core& core, Selector selector, bool is_busy) {
  const u64 address = core.state.gdtr.base + selector.offset();
  u64 raw;
  if (!core.read_system(address, raw)) return false;
  raw = is_busy ? raw | kBusy : raw & ~kBusy;
  return core.write_system(address, raw);
}

// Loads one data segment of the new task; faults are reported in the new task's context as #TS.
bool load_task_segment(Core& core, unsigned index, u16 selector) {
  if (core.load_segment(index, selector)) return true;
  if (core.fault.vector == x86::kVectorGp) core.fault.vector = x86::kVectorTs;
  return false;
}

bool load_task_code(Core& core, u16 value) {
  const Selector selector{value};
  if (selector.is_null()) return core.raise(x86::kVectorTs, 0);
  Descriptor code;
  u64 address;
  if (!core.read_descriptor(selector, code, address, x86::kVectorTs)) return false;
  const bool has_privilege =
      code.is_conforming() ? code.dpl() <= selector.rpl() : code.dpl() == selector.rpl();
  if (!code.is_code() || !has_privilege) return core.raise(x86::kVectorTs, selector.error_code());
  if (!code.is_present()) return core.raise(x86::kVectorNp, selector.error_code());
  if (!core.set_accessed(code, address)) return false;
  core.set_segment(core.state.segment(x86::kCs), value, code);
  return true;
}

bool load_task_segments(Core& core, const TaskImage& image) {
  CpuState& state = core.state;
  state.ldtr = {.selector = image.ldt};
  if (!Selector{image.ldt}.is_null() && !core.load_ldtr(image.ldt)) {
    if (core.fault.vector != x86::kVectorPf) core.fault.vector = x86::kVectorTs;
    return false;
  }
  if (core.is_v8086()) {
    for (unsigned i = 0; i < 6; ++i) core.load_real_segment(i, image.selectors[i]);
    core.update_mode();
    return true;
  }
  const unsigned new_cpl = image.selectors[x86::kCs] & 3u;
  // The stack first, so that faults of the other segments have one.
  Segment ss;
  if (!core.load_stack_segment(image.selectors[x86::kSs], new_cpl, x86::kVectorTs, ss)) return false;
  state.segment(x86::kSs) = ss;
  if (!load_task_code(core, image.selectors[x86::kCs])) return false;
  core.update_mode();
  for (const unsigned index : {x86::kEs, x86::kDs, x86::kFs, x86::kGs}) {
    if (!load_task_segment(core, index, image.selectors[index])) return false;
  }
  return true;
}

}  // namespace

bool Core::switch_task(Selector selector, TaskSwitch cause, u64 return_rip, std::optional<u32> error_code) {
  const u8 vector = cause == TaskSwitch::kIret ? x86::kVectorTs : x86::kVectorGp;
  const u32 error = selector.error_code();
  if (selector.is_null() || selector.is_local()) return raise(vector, error);
  Descriptor descriptor;
  u64 address;
  if (!read_descriptor(selector, descriptor, address, vector)) return false;
  const bool wants_busy = cause == TaskSwitch::kIret;
  const unsigned type = descriptor.type();
  const bool is_tss = !descriptor.is_code_or_data() && (type & 0x5) == 1;
  if (!is_tss || ((type & 2) != 0) != wants_busy) return raise(vector, error);
  if (!descriptor.is_present()) return raise(x86::kVectorNp, error);
  const bool is_wide = (type & 8) != 0;
  const unsigned size = is_wide ? kTss32Size : kTss16Size;
  if (descriptor.limit() < size - 1) return raise(x86::kVectorTs, error);
  const u64 new_base = descriptor.base();
  u8 data[kTss32Size] = {};
  if (!read_linear(new_base, data, size, kSupervisor)) return false;
  const TaskImage image = decode(data, is_wide);

  u64 old_flags = state.rflags;
  if (cause == TaskSwitch::kIret) old_flags &= ~x86::kFlagNt;
  const Selector old_task{state.tr.selector};
  const bool was_wide = (state.tr.type() & 8) != 0;
  const unsigned saved_bytes = was_wide ? 96 : 42;  // up to the last field that is saved
  if (state.tr.limit < saved_bytes - 1) return raise(x86::kVectorTs, old_task.error_code());
  if (!save(*this, state.tr.base, was_wide, return_rip, old_flags)) return false;
  if (cause == TaskSwitch::kJump || cause == TaskSwitch::kIret) {
    if (!set_busy(*this, old_task, false)) return false;
  }
  const bool is_nested = cause == TaskSwitch::kCall || cause == TaskSwitch::kInterrupt;
  if (is_nested && !write_linear(new_base, &old_task.value, 2, kSupervisor)) return false;
  if (cause != TaskSwitch::kIret && !set_busy(*this, selector, true)) return false;

  // From here on faults belong to the new task. SDM 3A 7.3 step 11 ff.
  descriptor.raw |= kBusy;
  set_segment(state.tr, selector.value, descriptor);
  state.cr0 |= x86::kCr0Ts;
  const u64 nested_flag = is_nested ? x86::kFlagNt : 0;
  if (!enter_task(image, is_wide, (image.eflags & 0x3f7fd5) | x86::kFlagReserved1 | nested_flag))
    return false;
  if (error_code) {
    StackFrame stack(*this, state.segment(x86::kSs), state.gpr[x86::kRsp], is_wide ? 4 : 2, access_mode);
    if (!stack.push(*error_code)) return false;
    state.gpr[x86::kRsp] = stack.offset();
  }
  if (image.traps) state.pending_debug |= x86::kDr6Bt;
  return true;
}

bool Core::enter_task(const TaskImage& image, bool is_wide, u64 flags) {
  state.rip = image.eip;
  state.rflags = flags;
  for (unsigned i = 0; i < 8; ++i) {
    state.gpr[i] = is_wide ? image.gpr[i] : (state.gpr[i] & 0xffff0000) | image.gpr[i];
  }
  // Until they are loaded the segments are unusable, but the privilege level is the new one.
  for (unsigned i = 0; i < 6; ++i) state.segment(i) = {.selector = image.selectors[i]};
  state.segment(x86::kSs).attributes = static_cast<u16>((image.selectors[x86::kCs] & 3u) << 5);
  state.dr7 &= ~u64{0x155};  // local breakpoint enables
  update_watch();
  update_mode();
  if (is_wide && (state.cr0 & x86::kCr0Pg) != 0 && !set_cr3(image.cr3)) return false;
  if (!load_task_segments(*this, image)) return false;
  return state.rip <= state.segment(x86::kCs).limit || raise(x86::kVectorGp, 0);
}

}  // namespace doppel
