// PciPlatform: the machine's PCI bus with its addresses and interrupts, in the state that firmware leaves it
// in.
#pragma once

#include "devices/pci_host.h"
#include "irq/irq_router.h"
#include "irq/msi_delivery.h"
#include "machine/vcpu_platform.h"

namespace doppel {

// Composes bus, host bridge and message delivery, and chooses the windows of devices/port_map.h. Owned by the
// machine, which calls assemble() before functions are plugged in and prepare() after reset. Called with the
// device lock held, or before anything runs.
class PciPlatform {
 public:
  PciPlatform(MachineBuses& buses, ApicBus& apic_bus, IrqRouter& router, PicPair& pic,
              const GuestMemory& memory);

  PciHost& host() { return host_; }
  PciBus& bus() { return bus_; }
  const PciWindow& memory64_window() const { return bus_.resources().memory64; }
  MsiSink& messages() { return messages_; }

  // Maps the configuration space, and plugs in the host bridge.
  Result<void> assemble();
  // What firmware would do outside of PCI: the legacy interrupts of PCI are levels.
  void prepare();

 private:
  MachineBuses& buses_;
  PicPair& pic_;
  MsiDelivery messages_;
  PciBus bus_;
  PciHost host_;
};

}  // namespace doppel
