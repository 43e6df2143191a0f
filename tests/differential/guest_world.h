// GuestWorld: the smallest machine in which an engine can run one user-mode instruction and report its fault.
#pragma once

#include "cpu/cpu_state.h"
#include "memory/guest_memory.h"
#include "tests/differential/user_state.h"

namespace doppel::differential {

// Builds page tables of as many levels as the host uses, GDT, IDT and TSS in guest RAM: the code, data and
// stack windows at their native addresses for ring 3, everything else supervisor-only. Vector n's handler is
// a HLT at handler_address(n), so that a fault is recognised by where execution went. Owned by a VcpuBackend.
class GuestWorld {
 public:
  static constexpr u64 kRamSize = 2 * kMiB;

  explicit GuestWorld(GuestMemory& memory);

  // Ring 3 in the code window; registers still zero.
  CpuState initial_state(bool is_compat) const;

  GuestPhys code() const { return GuestPhys(kCodePhys); }
  GuestPhys data() const { return GuestPhys(kDataPhys); }
  GuestPhys stack() const { return GuestPhys(kUserStackPhys); }
  GuestPhys last_page() const { return GuestPhys(kRamSize - kPageSize); }

  // Reads back a fault that was delivered to ring 0: user state from the stack frame. `out` already holds the
  // registers that delivery does not touch.
  void read_fault(const CpuState& state, Outcome& out) const;

 private:
  static constexpr u64 kKernelBase = 0xffffffff80000000;
  static constexpr u64 kTablesPhys = 0x1000;
  static constexpr u64 kIdtPhys = 0x10000;
  static constexpr u64 kGdtPhys = 0x11000;
  static constexpr u64 kTssPhys = 0x12000;
  static constexpr u64 kHandlersPhys = 0x13000;
  static constexpr u64 kStackPhys = 0x14000;
  static constexpr u64 kStackTop = kKernelBase + kStackPhys + kPageSize;
  static constexpr u64 kCodePhys = 0x20000;
  static constexpr u64 kDataPhys = 0x30000;
  static constexpr u64 kUserStackPhys = 0x40000;
  static constexpr u64 kHandlerSpacing = 16;

  void map(u64 virtual_address, u64 physical, u64 leaf_flags);
  u64 next_table(u64 table, u64 index);
  void write_idt();
  void write_gdt();

  GuestMemory& memory_;
  u64 next_free_table_ = kTablesPhys + kPageSize;
};

}  // namespace doppel::differential
