// MsiDelivery: turns message-signalled interrupts into messages of the APIC bus.
#pragma once

#include "base/log.h"
#include "bus/msi_sink.h"
#include "irq/apic_bus.h"

namespace doppel {

// The interrupt range of the system bus for PCI functions and the HPET. Owned by the machine; stateless. A
// write outside the range is dropped: functions have no other use for messages. Called with the device lock
// held.
class MsiDelivery final : public MsiSink {
 public:
  explicit MsiDelivery(ApicBus& bus) : bus_(bus) {}

  void send(u64 address, u32 data) override {
    if (const auto message = decode_msi(address, data)) {
      bus_.deliver(*message);
    } else {
      LOG_GUEST("msi: address {:#x} is no interrupt address", address);
    }
  }

 private:
  ApicBus& bus_;
};

}  // namespace doppel
