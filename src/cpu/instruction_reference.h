// InstructionReference: a second opinion on what instructions do, for whoever checks an engine.
#pragma once

#include <optional>

#include "cpu/access_observer.h"
#include "cpu/core.h"

namespace doppel {

// Executes instructions of 64-bit code for another vCPU, the leader, on a copy of its registers. It sees the
// leader's memory through the leader's software TLB, which it does not change. No event is ever delivered.
// Used on the leader's thread, while the leader does not execute.
class InstructionReference {
 public:
  virtual ~InstructionReference() = default;
  // Before anything else. Both outlive the reference's use.
  virtual void follow(Core& leader, AccessObserver& observer) = 0;
  virtual CpuState& state() = 0;
  // Executes that many instructions, fewer when one faults or is refused an access; then the registers are
  // those before that instruction, but for CR2, and what it had written already stays written. Returns how
  // many.
  virtual u64 execute(u64 instructions) = 0;
  // Walks to the code at `rip`, as who is about to execute it does.
  virtual void walk_code(u64 rip) = 0;
  // What the last execute() stopped for, if it was a fault.
  virtual std::optional<Fault> fault() const = 0;
};

}  // namespace doppel
