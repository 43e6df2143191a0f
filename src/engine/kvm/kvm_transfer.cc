// Taking the whole state out of KVM, and putting it in; keeping the guest's TSC and machine time together.
#include "base/log.h"
#include "engine/kvm/kvm_events.h"
#include "engine/kvm/kvm_msrs.h"
#include "engine/kvm/kvm_state.h"
#include "engine/kvm/kvm_vcpu.h"
#include "x86/msr.h"

namespace doppel::kvm {
namespace {

constexpr u64 kMeasuringsPerSecond = 10;
constexpr u64 kLargestError = 200'000;  // a second divided by it: what machine time and TSC may differ by
constexpr unsigned kTries = 4;

}  // namespace

// KVM shows the APIC's enable bit in CPUID. The x2APIC bit stays out: KVM would look for a local APIC of its
// own.
void KvmVcpu::meet_platform() {
  run_->cr8 = task_priority_ = platform_.task_priority();
  const u64 base = platform_.read_msr(x86::kMsrApicBase).value_or(apic_base_) & ~x86::kApicBaseX2Apic;
  knows_platform_ = true;
  if (base == apic_base_) return;
  apic_base_ = base;
  if (const Result<void> done = write_msr(file_, x86::kMsrApicBase, base); !done) {
    stop_for_good(done.error().message);
  }
}

Result<void> KvmVcpu::write_state(const CpuState& state) {
  kvm_sregs2 sregs = to_sregs(state, core_.cpl, {apic_base_, task_priority_});
  if (!core_.is_long_mode) sregs.cs.l = 0;  // means nothing there, and KVM refuses it
  TRY_VOID(file_.apply(KVM_SET_SREGS2, &sregs, "loading system registers"));
  const kvm_regs regs = to_regs(state);
  TRY_VOID(file_.apply(KVM_SET_REGS, &regs, "loading registers"));
  XsaveImage xsave;
  to_xsave(state, core_.cpuid.has(x86::Feature::kAvx), xsave);
  TRY_VOID(file_.apply(kSetXsave, xsave.data(), "loading vector registers"));
  if (core_.cpuid.has(x86::Feature::kXsave)) {
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = state.xcr0;
    TRY_VOID(file_.apply(KVM_SET_XCRS, &xcrs, "loading XCR0"));
  }
  const kvm_debugregs debug = to_debug(state);
  TRY_VOID(file_.apply(KVM_SET_DEBUGREGS, &debug, "loading debug registers"));
  TRY_VOID(load_msrs(vm_.device(), file_, state));
  TRY_VOID(write_tsc_offset(state.tsc_offset));
  const kvm_vcpu_events events = to_events(state);
  TRY_VOID(file_.apply(KVM_SET_VCPU_EVENTS, &events, "loading events"));
  return {};
}

// Fields that KVM does not have keep their values.
Result<void> KvmVcpu::read_state(CpuState& state, kvm_vcpu_events& events) {
  kvm_regs regs;
  TRY_VOID(file_.apply(KVM_GET_REGS, &regs, "reading registers"));
  from_regs(regs, state);
  kvm_sregs2 sregs;
  TRY_VOID(file_.apply(KVM_GET_SREGS2, &sregs, "reading system registers"));
  from_sregs(sregs, state);
  XsaveImage xsave;
  TRY_VOID(file_.apply(kGetXsave, xsave.data(), "reading vector registers"));
  from_xsave(xsave, state);
  if (core_.cpuid.has(x86::Feature::kXsave)) {
    kvm_xcrs xcrs{};
    TRY_VOID(file_.apply(KVM_GET_XCRS, &xcrs, "reading XCR0"));
    state.xcr0 = xcrs.xcrs[0].value;
  }
  kvm_debugregs debug;
  TRY_VOID(file_.apply(KVM_GET_DEBUGREGS, &debug, "reading debug registers"));
  from_debug(debug, state);
  TRY_VOID(save_msrs(vm_.device(), file_, state));
  state.tsc_offset = kvm_tsc_offset_ + vm_.tsc_base();
  TRY_VOID(file_.apply(KVM_GET_VCPU_EVENTS, &events, "reading events"));
  from_events(events, state);
  return {};
}

// Before run() ends: no event may be half delivered, because CpuState has no place for it.
void KvmVcpu::settle() {
  kvm_vcpu_events events{};
  if (file_.try_call(KVM_GET_VCPU_EVENTS, &events) != 0) return;
  const TakenEvents taken = taken_events(events, is_unsupported_);
  if (!taken.exception && !taken.interrupt) return;
  if (const Result<void> done = read_state(core_.state, events); !done) {
    return stop_for_good(done.error().message);
  }
  core_.state_replaced();
  deliver_taken(core_, returned_, taken);
  load(core_.state);
}

void KvmVcpu::save(CpuState& state) {
  kvm_vcpu_events events{};
  if (is_loaded_ && failure_.empty() && core_.state.activity != Activity::kShutdown) {
    // One that was announced is part of the state.
    if (core_.state.activity != Activity::kWaitForSipi) take_nmi();
    if (const Result<void> done = read_state(core_.state, events); !done) stop_for_good(done.error().message);
  }
  state = core_.state;
}

void KvmVcpu::load(const CpuState& state) {
  if (&state != &core_.state) core_.state = state;
  core_.state_replaced();
  failure_.clear();
  needs_completion_ = is_unsupported_ = false;
  check_reported();
  ++statistics_.state_loads;
  if (const Result<void> done = write_state(core_.state); !done) stop_for_good(done.error().message);
  is_loaded_ = true;
  has_interrupt_flag_ = (core_.state.rflags & x86::kFlagIf) != 0;
  run_->ready_for_interrupt_injection = 0;
  knows_platform_ = false;
  interrupt_hint_ = true;
}

Result<void> KvmVcpu::write_tsc_offset(u64 tsc_offset) {
  // Where the offset cannot be chosen, follow_time() tells the machine what it is.
  if (!vm_.device().can_offset_tsc()) return {};
  kvm_tsc_offset_ = tsc_offset - vm_.tsc_base();
  const kvm_device_attr attribute{.flags = 0,
                                  .group = KVM_VCPU_TSC_CTRL,
                                  .attr = KVM_VCPU_TSC_OFFSET,
                                  .addr = reinterpret_cast<u64>(&kvm_tsc_offset_)};
  TRY_VOID(file_.apply(KVM_SET_DEVICE_ATTR, &attribute, "the TSC's offset"));
  return {};
}

// KVM's TSC minus the machine's, from the shortest of a few looks at both.
Result<void> KvmVcpu::measure_time() {
  u64 shortest = ~u64{0};
  u64 base = 0;
  u64 now = 0;
  for (unsigned i = 0; i < kTries; ++i) {
    const u64 before = platform_.tsc();
    const u64 guest = TRY(read_msr(file_, x86::kMsrTsc));
    now = platform_.tsc();
    if (now - before >= shortest) continue;
    shortest = now - before;
    base = guest - kvm_tsc_offset_ - (before + shortest / 2);
  }
  const u64 distance = base - vm_.tsc_base();
  const u64 rate = u64{vm_.scaled_tsc_khz() != 0 ? vm_.scaled_tsc_khz() : vm_.device().tsc_khz()} * 1000;
  const u64 allowed = rate / kLargestError;
  const bool is_first = vm_.tsc_measured_at() == 0;
  const bool is_apart = distance + allowed > 2 * allowed;  // either way
  vm_.set_tsc_base(is_first || is_apart ? base : vm_.tsc_base(), now == 0 ? 1 : now);
  return {};
}

// The guest's TSC never jumps: where the host's clock and its TSC drift apart, the offset follows.
void KvmVcpu::follow_time() {
  const u64 rate = u64{vm_.scaled_tsc_khz() != 0 ? vm_.scaled_tsc_khz() : vm_.device().tsc_khz()} * 1000;
  if (platform_.tsc() - vm_.tsc_measured_at() > rate / kMeasuringsPerSecond) {
    if (const Result<void> done = measure_time(); !done) return stop_for_good(done.error().message);
  }
  const u64 offset = kvm_tsc_offset_ + vm_.tsc_base();
  if (offset == core_.state.tsc_offset) return;
  core_.state.tsc_offset = offset;
  platform_.tsc_offset_changed(offset);
}

}  // namespace doppel::kvm
