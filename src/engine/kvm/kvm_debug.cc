// Debuggers: stops in debug registers, and what an exit for them means.
#include "engine/kvm/kvm_debug.h"

#include <algorithm>
#include <bit>

#include "engine/kvm/kvm_vcpu.h"

namespace doppel::kvm {
namespace {

constexpr u64 kLargestSize = 8;
constexpr unsigned kDebugRegister7 = 7;

// The fields of DR7 for register `index`: enabled for all tasks; what stops; how many bytes.
u64 control_bits(unsigned index, bool is_breakpoint, bool sees_reads, u64 size) {
  const u64 enable = u64{2} << (index * 2);
  if (is_breakpoint) return enable;
  const u64 kind = sees_reads ? 3 : 1;
  const u64 length = size == kLargestSize ? 2 : size - 1;
  return enable | (kind | length << 2) << (16 + index * 4);
}

u64 linear_rip(const CpuState& state, bool is_64bit) {
  return is_64bit ? state.rip : (state.segment(x86::kCs).base + state.rip) & 0xffffffff;
}

}  // namespace

Result<DebugPlan> DebugPlan::create(const DebugControl& control) {
  DebugPlan plan;
  for (const GuestVirt address : control.breakpoints) {
    TRY_VOID(plan.add({.address = address.value(), .hit = {DebugCause::kBreakpoint, address}}));
  }
  for (const Watchpoint& watchpoint : control.watchpoints) TRY_VOID(plan.add_watchpoint(watchpoint));
  return plan;
}

Result<void> DebugPlan::add(const Register& one) {
  if (used_ == kRegisters) {
    return fail("engine kvm: breakpoints and watchpoints need more than the processor's {} debug registers",
                kRegisters);
  }
  registers_[used_++] = one;
  return {};
}

// In aligned pieces, the largest first that fits.
Result<void> DebugPlan::add_watchpoint(const Watchpoint& watchpoint) {
  if (!watchpoint.on_write) {
    return fail("engine kvm: debug registers do not see reads without writes");
  }
  u64 address = watchpoint.address.value();
  for (u64 left = watchpoint.size; left != 0;) {
    const u64 aligned = address == 0 ? kLargestSize : u64{1} << std::countr_zero(address);
    const u64 size = std::min({kLargestSize, aligned, std::bit_floor(left)});
    TRY_VOID(add({.address = address,
                  .size = size,
                  .hit = {DebugCause::kWatchpoint, watchpoint.address, true},
                  .sees_reads = watchpoint.on_read}));
    address += size;
    left -= size;
  }
  return {};
}

kvm_guest_debug DebugPlan::arguments() const {
  kvm_guest_debug arguments{};
  if (used_ == 0) return arguments;
  arguments.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
  u64 control = x86::kDr7Fixed;
  for (unsigned i = 0; i < used_; ++i) {
    const Register& one = registers_[i];
    arguments.arch.debugreg[i] = one.address;
    control |= control_bits(i, one.hit.cause == DebugCause::kBreakpoint, one.sees_reads, one.size);
  }
  arguments.arch.debugreg[kDebugRegister7] = control;
  return arguments;
}

// A watchpoint is of the instruction before, and goes first; the breakpoint is met again. Processors may set
// the bits of breakpoints at other addresses.
std::optional<DebugHit> DebugPlan::hit(u64 dr6, u64 rip) const {
  std::optional<DebugHit> found;
  for (unsigned i = 0; i < used_; ++i) {
    const Register& one = registers_[i];
    if ((dr6 >> i & 1) == 0) continue;
    if (one.hit.cause == DebugCause::kWatchpoint) return one.hit;
    if (one.address == rip) found = one.hit;
  }
  return found;
}

Result<void> KvmVcpu::set_debug(const DebugControl& control) {
  const DebugPlan plan = TRY(DebugPlan::create(control));
  if (!plan.is_empty()) TRY_VOID(vm_.check_debug_registers());
  const kvm_guest_debug arguments = plan.arguments();
  TRY_VOID(file_.apply(KVM_SET_GUEST_DEBUG, &arguments, "debug registers for a debugger"));
  debug_ = plan;
  steps_ = control.steps;
  hit_.reset();
  return {};
}

// Either what the debugger asked for, or the guest's own: its single step, or its INT1.
void KvmVcpu::do_debug_exception() {
  const kvm_debug_exit_arch what = run_->debug.arch;
  hit_ = debug_.hit(what.dr6, what.pc);
  if (!hit_) return raise_debug_exception(what.dr6);
  if (hit_->cause != DebugCause::kBreakpoint) return;
  reported_ = hit_->address.value();
  reported_retired_ = core_.state.instructions_retired;
}

void KvmVcpu::raise_debug_exception(u64 causes) {
  kvm_debugregs debug{};
  kvm_vcpu_events events{};
  if (file_.try_call(KVM_GET_DEBUGREGS, &debug) != 0 || file_.try_call(KVM_GET_VCPU_EVENTS, &events) != 0) {
    return stop_for_good("a debug exception of the guest cannot be passed on");
  }
  debug.dr6 |= causes & (x86::kDr6Bs | x86::kDr6Bt);
  events.exception = {};
  events.exception.injected = 1;
  events.exception.nr = x86::kVectorDb;
  if (file_.try_call(KVM_SET_DEBUGREGS, &debug) != 0 || file_.try_call(KVM_SET_VCPU_EVENTS, &events) != 0) {
    stop_for_good("a debug exception of the guest cannot be passed on");
  }
}

// A state was loaded. Where it is another instruction, or the same after others, its breakpoint counts again.
void KvmVcpu::check_reported() {
  if (!reported_) return;
  const bool is_there = linear_rip(core_.state, core_.is_64bit) == *reported_;
  if (!is_there || core_.state.instructions_retired != reported_retired_) reported_.reset();
}

}  // namespace doppel::kvm
