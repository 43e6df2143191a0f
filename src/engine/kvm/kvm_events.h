// What KVM took and has not delivered: an exception, an interrupt, or both.
#pragma once

#include <optional>

#include "cpu/core.h"
#include "cpu/interrupt_return.h"
#include "engine/kvm/kvm_ioctl.h"

namespace doppel::kvm {

struct TakenEvents {
  std::optional<Fault> exception;
  std::optional<u8> interrupt;  // acknowledged; software interrupts are not: the instruction comes again
};

// `is_unsupported`: KVM reported an instruction that it cannot emulate, and may have queued #UD beside it.
TakenEvents taken_events(const kvm_vcpu_events& events, bool is_unsupported);

// Delivers the exception, which belongs to the instruction before, then the interrupt. One that the guest
// does not allow any more goes back.
void deliver_taken(Core& core, InterruptReturn& returned, const TakenEvents& taken);

}  // namespace doppel::kvm
