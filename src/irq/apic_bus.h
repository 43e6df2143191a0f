// ApicBus: carries interrupt messages between I/O APICs, MSI sources and local APICs.
#pragma once

#include <optional>
#include <vector>

#include "irq/interrupt_message.h"

namespace doppel {

class IoApic;
class LocalApic;

// The message part of the system bus (SDM 3A 10.11). Owned by the machine; local and I/O APICs add themselves
// when constructed and must outlive every delivery. Stateless. Called with the device lock held.
class ApicBus {
 public:
  void add(LocalApic& apic) { local_apics_.push_back(&apic); }
  void add(IoApic& apic) { io_apics_.push_back(&apic); }

  // True when at least one local APIC accepted the message.
  bool deliver(const InterruptMessage& message);

  // The interrupt command `icr` in the layout of the mode `source` is in. SDM 3A 10.6.1 and 10.12.9.
  void send_ipi(LocalApic& source, u64 icr);

  // End of a level-triggered interrupt: I/O APICs may send it again.
  void broadcast_eoi(u8 vector);

 private:
  bool deliver_lowest_priority(const InterruptMessage& message);

  std::vector<LocalApic*> local_apics_;
  std::vector<IoApic*> io_apics_;
};

// The message an MSI write of `data` to `address` stands for; nothing when the address is not in the
// interrupt range 0xfeexxxxx. Destination bits 14:8 come from address bits 11:5, as CPUID 0x40000001 EAX bit
// 15 promises. SDM 3A 10.11.
std::optional<InterruptMessage> decode_msi(u64 address, u32 data);

// An 8-bit physical destination from an I/O APIC or MSI: FFH means everybody.
constexpr u32 widen_destination(u32 destination, bool is_logical) {
  return !is_logical && destination == 0xff ? 0xffffffff : destination;
}

}  // namespace doppel
