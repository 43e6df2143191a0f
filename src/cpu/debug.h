// What a debugger outside the guest asks of a vCPU, and what the vCPU reports to it.
#pragma once

#include <vector>

#include "base/types.h"
#include "memory/address.h"

namespace doppel {

// Stops behind the instruction that touches a byte of [address, address + size). Accesses the processor makes
// for an instruction or an event (stack frames, descriptors) count; page walks and devices do not.
struct Watchpoint {
  GuestVirt address;
  u64 size = 1;
  bool on_read = false;
  bool on_write = false;
  bool operator==(const Watchpoint&) const = default;
};

// Nothing in here is visible to the guest: no byte of its memory changes, and neither do its debug registers.
// Addresses are linear ones, in whatever address space is current.
struct DebugControl {
  // run() returns before the instruction at one of these. What it stopped at runs on the next run().
  std::vector<GuestVirt> breakpoints;
  std::vector<Watchpoint> watchpoints;
  // run() returns after one instruction. Unless the vCPU is halted, interrupts and NMIs wait meanwhile, so
  // that the next instruction is the program's own.
  bool steps = false;

  bool is_empty() const { return breakpoints.empty() && watchpoints.empty() && !steps; }
  bool operator==(const DebugControl&) const = default;
};

enum class DebugCause : u8 { kStep, kBreakpoint, kWatchpoint };

struct DebugHit {
  DebugCause cause = DebugCause::kStep;
  GuestVirt address;      // of the breakpoint, or the watchpoint's own
  bool is_write = false;  // with kWatchpoint: the access
};

}  // namespace doppel
