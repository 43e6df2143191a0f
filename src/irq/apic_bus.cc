// Destination matching and interprocessor interrupts.
#include "irq/apic_bus.h"

#include "base/log.h"
#include "irq/io_apic.h"
#include "irq/lapic.h"

namespace doppel {

bool ApicBus::deliver(const InterruptMessage& message) {
  if (message.mode == DeliveryMode::kLowestPriority) return deliver_lowest_priority(message);
  bool is_accepted = false;
  for (LocalApic* apic : local_apics_) {
    if (apic->matches(message) && apic->accept(message)) is_accepted = true;
  }
  if (!is_accepted)
    LOG_GUEST("apic bus: nobody accepts vector {:#x} for {:#x}", message.vector, message.destination);
  return is_accepted;
}

// SDM 3A 10.6.2.4: the receiver with the lowest processor priority; the first one when equal.
bool ApicBus::deliver_lowest_priority(const InterruptMessage& message) {
  LocalApic* best = nullptr;
  for (LocalApic* apic : local_apics_) {
    if (!apic->matches(message) || !apic->is_software_enabled()) continue;
    if (best == nullptr || apic->processor_priority() < best->processor_priority()) best = apic;
  }
  return best != nullptr && best->accept(message);
}

void ApicBus::send_ipi(LocalApic& source, u64 icr) {
  InterruptMessage message;
  message.vector = static_cast<u8>(icr);
  message.mode = static_cast<DeliveryMode>(bits(icr, 8, 3));
  message.is_logical = bit(icr, 11);
  message.is_assert = bit(icr, 14);
  // SDM 3A 10.6.1: the trigger mode matters for INIT level de-assert only; other IPIs are edges.
  message.is_level = message.mode == DeliveryMode::kInit && bit(icr, 15);
  const u32 high = static_cast<u32>(icr >> 32);
  message.destination = source.is_x2apic() ? high : high >> 24;

  const auto shorthand = static_cast<Shorthand>(bits(icr, 18, 2));
  // SDM 3A table 10-3: a CPU cannot send itself INIT, NMI, SMI or start-up by shorthand.
  const bool has_vector =
      message.mode == DeliveryMode::kFixed || message.mode == DeliveryMode::kLowestPriority;
  if (!has_vector && (shorthand == Shorthand::kSelf || shorthand == Shorthand::kAll)) return;
  // ExtINT is not a mode of the ICR. SDM 3A 10.6.1.
  if (message.mode == DeliveryMode::kExtInt) return;
  switch (shorthand) {
    case Shorthand::kNone:
      deliver(message);
      return;
    case Shorthand::kSelf:
      source.accept(message);
      return;
    case Shorthand::kAll:
    case Shorthand::kAllButSelf:
      for (LocalApic* apic : local_apics_) {
        if (apic != &source || shorthand == Shorthand::kAll) apic->accept(message);
      }
      return;
  }
}

void ApicBus::broadcast_eoi(u8 vector) {
  for (IoApic* apic : io_apics_) apic->end_of_interrupt(vector);
}

std::optional<InterruptMessage> decode_msi(u64 address, u32 data) {
  if ((address >> 20) != 0xfee) return std::nullopt;
  InterruptMessage message;
  message.is_logical = bit(address, 2);
  const u32 destination = static_cast<u32>(bits(address, 12, 8) | (bits(address, 5, 7) << 8));
  message.destination = widen_destination(destination, message.is_logical);
  message.vector = static_cast<u8>(data);
  message.mode = static_cast<DeliveryMode>(bits(data, 8, 3));
  message.is_level = bit(data, 15);
  message.is_assert = !message.is_level || bit(data, 14);
  return message;
}

}  // namespace doppel
