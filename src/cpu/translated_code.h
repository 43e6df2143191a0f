// TranslatedCode: the seam between the interpreter, which knows every instruction, and a translator, which is
// faster at most of them.
#pragma once

#include <atomic>
#include <string_view>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "base/types.h"
#include "cpu/guest_place.h"
#include "memory/address.h"

namespace doppel {

class Core;

// Guest code translated for the host. Owned by the interpreter of one vCPU and used on that vCPU's thread,
// but for attention(). Whoever owns it handles events, faults and every instruction that is not translated.
class TranslatedCode : public GuestLocator {
 public:
  enum class Outcome : u8 {
    kAttention,  // the owner wants to look after events
    kInterpret,  // the instruction at RIP is for the owner: not translated, or it will fault
    kBudget,     // what is left of the budget does not cover the next block
  };

  // What is used of the owner: its state and paging unit. `attention` is non-zero when run() is to come back,
  // `pending` true when an interrupt may wait for RFLAGS.IF.
  virtual void attach(Core& core, const std::atomic<i64>& attention, const std::atomic<bool>& pending) = 0;

  // Executes from the state's RIP on, in 64-bit mode, without debug facilities in use. Registers are
  // architectural when it comes back. `budget`: instructions left; only what was made for counting looks at
  // it and charges for what it executes.
  virtual Outcome run(i64& budget) = 0;
  // The vCPU's thread does something else now, or waits.
  virtual void rest() {}

  // What run() would do with the block at RIP if nothing stopped it.
  struct NextBlock {
    u64 executed = 0;  // instructions; 0: the one at RIP is for the owner
    u64 charged = 0;   // what the budget has to cover for that
  };
  virtual NextBlock next_block() = 0;

  // Does run() look at its budget?
  virtual bool counts_instructions() const = 0;

  // Does run() come back when privileged code returns to user code? Not at first.
  virtual void leave_for_user(bool leaves) { (void)leaves; }
  // How often user code of the current address space has called the system.
  virtual u64 system_calls() const { return 0; }

  // Any thread: `attention` was set.
  virtual void attention() = 0;

  // Bytes of a frame changed; true when instructions of that frame are still held.
  virtual bool code_written(GuestPhys address, u64 size) = 0;
  virtual bool holds(u64 frame) const = 0;
  virtual void forget_all() = 0;

  virtual std::vector<std::pair<std::string_view, u64>> statistics() const = 0;
  virtual void add_metrics(MetricList& list) const = 0;
};

}  // namespace doppel
