// CpuPlatform: everything a virtual CPU can reach outside itself.
#pragma once

#include <optional>
#include <span>

#include "base/types.h"
#include "memory/address.h"

namespace doppel {

// What an engine needs from the machine around one vCPU. Implemented by the machine; called on the vCPU's
// thread without locks held. An engine knows no device beyond this.
class CpuPlatform {
 public:
  virtual ~CpuPlatform() = default;

  // Guest-physical accesses outside RAM; 1 to 8 bytes, within one page.
  virtual void read_mmio(GuestPhys address, std::span<u8> data) = 0;
  virtual void write_mmio(GuestPhys address, std::span<const u8> data) = 0;

  // Port accesses of 1, 2 or 4 bytes.
  virtual u32 read_port(u16 port, unsigned size) = 0;
  virtual void write_port(u16 port, unsigned size, u32 value) = 0;

  // The vCPU's interrupt controller: is an interrupt deliverable at the current task priority, and taking it.
  // acknowledge_interrupt() returns nothing when the request went away in between.
  virtual bool has_interrupt() = 0;
  virtual std::optional<u8> acknowledge_interrupt() = 0;

  // CR8: bits 7..4 of the task-priority register, 0..15.
  virtual u8 task_priority() = 0;
  virtual void set_task_priority(u8 priority) = 0;

  // MSRs that live outside CpuState: APIC base, x2APIC, TSC deadline, paravirtual. Nothing / false: no such
  // MSR or a value it refuses, which the engine turns into #GP(0).
  virtual std::optional<u64> read_msr(u32 index) = 0;
  virtual bool write_msr(u32 index, u64 value) = 0;

  // CpuState::tsc_offset has a new value.
  virtual void tsc_offset_changed(u64 tsc_offset) = 0;

  // KVM hypercall ABI: number in RAX, arguments in RBX, RCX, RDX, RSI; result for RAX.
  virtual u64 hypercall(u64 number, std::span<const u64, 4> arguments) = 0;

  // The guest spins (PAUSE): others may want the host CPU.
  virtual void relax() {}

  // The machine's TSC, before CpuState::tsc_offset.
  virtual u64 tsc() = 0;
  virtual u64 entropy() = 0;
};

}  // namespace doppel
