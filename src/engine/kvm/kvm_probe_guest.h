// ProbeGuest: a few bytes of 16-bit code in a machine of their own, to see what a KVM does.
#pragma once

#include <span>

#include "engine/kvm/kvm_device.h"
#include "engine/kvm/kvm_run_page.h"

namespace doppel::kvm {

// One page of memory at address 0 with the code, one vCPU in real mode that stands before it. Made, used and
// destroyed by one call on one thread.
class ProbeGuest {
 public:
  static constexpr u64 kMemorySize = 4096;

  ProbeGuest() = default;
  ProbeGuest(const ProbeGuest&) = delete;
  ProbeGuest& operator=(const ProbeGuest&) = delete;
  ~ProbeGuest();
  Result<void> create(const KvmDevice& device, std::span<const u8> code);

  const KvmFile& vcpu() const { return vcpu_; }
  u32 exit_reason() const { return run_->exit_reason; }
  Result<kvm_regs> registers() const;
  // Back to the first instruction.
  Result<void> restart() const;

 private:
  Result<void> map_memory(std::span<const u8> code);

  u8* memory_ = nullptr;
  KvmFile vm_;
  KvmFile vcpu_;
  RunPage run_;
};

}  // namespace doppel::kvm
