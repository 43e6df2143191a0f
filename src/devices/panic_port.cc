// Reports guest panics to the machine.
#include "devices/panic_port.h"

#include "base/log.h"

namespace doppel {

void PanicPort::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  visitor.end();
}

void PanicPort::read(u64, std::span<u8> data) { store_le(data, kSupportedEvents); }

void PanicPort::write(u64, std::span<const u8> data) {
  const u8 events = data[0];
  if ((events & kEventPanicked) != 0) return machine_.request_stop(StopReason::kGuestPanic, 1);
  LOG_GUEST("panic port: events {:#x} reported", events);
}

}  // namespace doppel
