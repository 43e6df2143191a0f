// DebugPlan: a debugger's stops in the processor's four debug registers.
#pragma once

#include <linux/kvm.h>

#include <array>
#include <optional>

#include "base/result.h"
#include "cpu/debug.h"

namespace doppel::kvm {

// Which debug register stands for which stop, and what an exit of KVM means in these terms. SDM 3B 18.2.
// Owned by a vCPU and used on its thread.
class DebugPlan {
 public:
  static constexpr unsigned kRegisters = 4;

  DebugPlan() = default;
  // An error when the stops need more registers than there are, or something the registers cannot do: seeing
  // reads without writes.
  static Result<DebugPlan> create(const DebugControl& control);

  bool is_empty() const { return used_ == 0; }
  // For KVM_SET_GUEST_DEBUG.
  kvm_guest_debug arguments() const;
  // What the bits 0 to 3 of `dr6` report with the next instruction at linear address `rip`; nothing when the
  // exception is the guest's own. With a watchpoint for both reads and writes nobody knows which it was.
  std::optional<DebugHit> hit(u64 dr6, u64 rip) const;

 private:
  struct Register {
    u64 address = 0;
    u64 size = 1;  // 1, 2, 4 or 8; the address is a multiple of it
    DebugHit hit;
    bool sees_reads = false;
  };

  Result<void> add(const Register& one);
  Result<void> add_watchpoint(const Watchpoint& watchpoint);

  std::array<Register, kRegisters> registers_;
  unsigned used_ = 0;
};

}  // namespace doppel::kvm
