// Kernel: Documentation/virt/kvm/api.rst, KVM_GET_VCPU_EVENTS.
#include "engine/kvm/kvm_events.h"

#include "x86/registers.h"

namespace doppel::kvm {

TakenEvents taken_events(const kvm_vcpu_events& events, bool is_unsupported) {
  TakenEvents taken;
  const u8 vector = events.exception.nr;
  const bool is_software = vector == x86::kVectorBp || vector == x86::kVectorOf;
  const bool is_report = is_unsupported && vector == x86::kVectorUd;
  if ((events.exception.injected != 0 || events.exception.pending != 0) && !is_software && !is_report) {
    taken.exception = Fault{vector, events.exception.has_error_code != 0, events.exception.error_code};
  }
  if (events.interrupt.injected != 0 && events.interrupt.soft == 0) taken.interrupt = events.interrupt.nr;
  return taken;
}

void deliver_taken(Core& core, InterruptReturn& returned, const TakenEvents& taken) {
  CpuState& state = core.state;
  if (taken.exception) {
    state.shadow = kShadowNone;
    core.deliver(*taken.exception, EventSource::kException, state.rip);
  }
  if (!taken.interrupt) return;
  const bool is_allowed = (state.rflags & x86::kFlagIf) != 0 && state.shadow == kShadowNone;
  if (!is_allowed || state.activity == Activity::kShutdown)
    return returned.return_interrupt(*taken.interrupt);
  core.deliver({*taken.interrupt, false, 0}, EventSource::kHardware, state.rip);
}

}  // namespace doppel::kvm
