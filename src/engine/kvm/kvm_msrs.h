// Which model-specific registers KVM keeps for the guest, and moving them.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "cpu/cpu_state.h"
#include "engine/kvm/kvm_device.h"

namespace doppel::kvm {

// A run of up to 64 registers; bit n of the bitmap: `first` + n is KVM's.
struct MsrRange {
  u32 first = 0;
  u32 count = 0;
  std::array<u8, 8> bitmap = {};
  bool is_read_only = false;  // writes come to user space
};

// What the guest reaches in KVM. Everything else is asked of the machine, so that it is the same on every
// engine.
std::vector<MsrRange> allowed_ranges(const KvmDevice& device);

// Registers in both CpuState and KVM that no other call moves, where this KVM has them.
Result<void> load_msrs(const KvmDevice& device, const KvmFile& vcpu, const CpuState& state);
Result<void> save_msrs(const KvmDevice& device, const KvmFile& vcpu, CpuState& state);

Result<u64> read_msr(const KvmFile& vcpu, u32 index);
Result<void> write_msr(const KvmFile& vcpu, u32 index, u64 value);

}  // namespace doppel::kvm
