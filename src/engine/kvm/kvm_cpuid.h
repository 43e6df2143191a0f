// CPUID as KVM is told it, and what of a machine's CPUID a host's KVM lacks.
#pragma once

#include "engine/kvm/kvm_device.h"
#include "x86/cpuid.h"

namespace doppel::kvm {

// Features to be taken out of a machine's CPUID (CpuidConfig::removed) so that `device` can run it.
x86::FeatureSet missing_features(const KvmDevice& device);
// Bits of CPUID.40000001H:EAX that need hypercalls, which KVM answers itself and not for a machine's own
// local APICs: not to be offered where this engine may run.
u32 hypercall_features();

// An error that names what `table` offers and `device` lacks.
Result<void> check_cpuid(const KvmDevice& device, const x86::CpuidTable& table);
Result<void> load_cpuid(const KvmFile& vcpu, const x86::CpuidTable& table, u32 apic_id);

}  // namespace doppel::kvm
