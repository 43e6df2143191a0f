// Vcpu: the seam between a machine and the engine that runs one of its CPUs.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "base/result.h"
#include "base/types.h"
#include "cpu/cpu_state.h"
#include "cpu/debug.h"
#include "cpu/guest_place.h"
#include "memory/address.h"

namespace doppel {

// Why an engine returned to the machine.
enum class ExitReason : u8 {
  kBudget,       // the instruction budget is used up
  kKicked,       // kick() was called
  kHalted,       // HLT or MWAIT: nothing to do until an interrupt
  kShutdown,     // triple fault
  kStopped,      // the platform asked the machine to stop during an access (power-off, reset, debug exit)
  kUnsupported,  // this engine cannot execute the next instruction; another one can
  kDebug,        // what set_debug() asked for happened: see Exit::debug
};

struct Exit {
  ExitReason reason;
  std::string detail;   // for a person; empty for the frequent reasons
  DebugHit debug = {};  // with kDebug
};

// How far to run: `instructions`, exactly, or (when `is_exact` is false) up to the trace boundary near it.
struct RunLimit {
  u64 instructions;
  bool is_exact = true;
};

// One vCPU of one engine. run() is called on the vCPU's thread; save(), load() and end_halt() there or, while
// run() is not under way, on another one; kick(), the notify functions and invalidate() from any thread.
class Vcpu {
 public:
  virtual ~Vcpu() = default;

  // Runs until the limit unless another reason comes first. An instruction that faults counts like one that
  // retires, so that a guest that does nothing but fault reaches the limit too.
  virtual Exit run(RunLimit limit) = 0;

  // Instructions retired since reset, exact also while the vCPU is inside a platform call.
  virtual u64 instructions_retired() const = 0;

  // False: run() comes back only when kicked or halted, whatever the limit says.
  virtual bool runs_in_slices() const { return true; }

  // Makes run() return at the next trace boundary; from within an access of this vCPU, behind the
  // instruction.
  virtual void kick() = 0;
  // The platform's has_interrupt() may have become true: poll it at the next opportunity.
  virtual void notify_interrupt() = 0;
  virtual void notify_nmi() = 0;
  // A HLT that lasts ends without an interrupt; nothing when the vCPU does not halt.
  virtual void end_halt() = 0;

  virtual void save(CpuState& state) = 0;
  virtual void load(const CpuState& state) = 0;

  // What run() is to stop for, instead of what was asked before. An empty control costs nothing. Fails when
  // the engine cannot do it (too many for its debug registers), and then nothing has changed.
  virtual Result<void> set_debug(const DebugControl& /*control*/) {
    return fail("this engine cannot be debugged");
  }

  // Counters for a person, by name.
  virtual std::vector<std::pair<std::string_view, u64>> statistics() const = 0;
  // The same as metrics; while run() is not under way.
  virtual void add_metrics(MetricList& list) const {
    static constexpr MetricKind kEvents{"engine_events", "What the engine counts."};
    for (const auto& [name, value] : statistics()) list.add(kEvents, value, {{"event", std::string(name)}});
  }

  // Who knows where the guest is while run() is under way; nullptr: nobody does before it comes back.
  virtual const GuestLocator* locator() const { return nullptr; }

  // The frames of [address, address + size) changed behind the engine's back.
  virtual void invalidate(GuestPhys address, u64 size) = 0;
};

}  // namespace doppel
