// CpuState to and from KVM's register structures.
#pragma once

#include "cpu/cpu_state.h"
#include "engine/kvm/kvm_ioctl.h"

namespace doppel::kvm {

kvm_regs to_regs(const CpuState& state);
void from_regs(const kvm_regs& regs, CpuState& state);

// What sregs hold that CpuState does not.
struct ApicValues {
  u64 apic_base;
  u8 task_priority;  // CR8
};
// `cpl` is the current privilege level: KVM takes it from SS.
kvm_sregs2 to_sregs(const CpuState& state, unsigned cpl, const ApicValues& apic);
void from_sregs(const kvm_sregs2& sregs, CpuState& state);

// The XSAVE image in the standard format. `has_avx`: the upper halves belong to the guest.
void to_xsave(const CpuState& state, bool has_avx, XsaveImage& xsave);
void from_xsave(const XsaveImage& xsave, CpuState& state);

kvm_debugregs to_debug(const CpuState& state);
void from_debug(const kvm_debugregs& debug, CpuState& state);

// Interrupt shadow, NMI state and the debug trap that is pending.
kvm_vcpu_events to_events(const CpuState& state);
void from_events(const kvm_vcpu_events& events, CpuState& state);

}  // namespace doppel::kvm
