// PciHost: PCI configuration mechanism 1 and the host bridge, the only function on bus 0.
#pragma once

#include "bus/bus_device.h"
#include "state/state_visitor.h"

namespace doppel {

// PCI Local Bus Specification 3.0, 3.2.2.3.2: a dword at 0xcf8 chooses a configuration register, 0xcfc..0xcff
// are a window onto it. Functions that do not exist read as all ones. Owned by the machine, which maps the
// data ports; the address ports belong to the reset control device, which passes on what is not its own.
// Called with the device lock held.
class PciHost final : public Component {
 public:
  PciHost() : address_ports_(*this), data_ports_(*this) {}

  BusDevice& address_ports() { return address_ports_; }
  BusDevice& data_ports() { return data_ports_; }

  std::string_view name() const override { return "pci_host"; }
  void reset() override { address_ = 0; }
  void visit_state(StateVisitor& visitor) override;

 private:
  struct AddressPorts final : BusDevice {
    explicit AddressPorts(PciHost& host) : host(host) {}
    void read(u64 offset, std::span<u8> data) override;
    void write(u64 offset, std::span<const u8> data) override;
    PciHost& host;
  };
  struct DataPorts final : BusDevice {
    explicit DataPorts(PciHost& host) : host(host) {}
    void read(u64 offset, std::span<u8> data) override;
    void write(u64 offset, std::span<const u8> data) override;
    PciHost& host;
  };

  bool selects_host_bridge() const;

  AddressPorts address_ports_;
  DataPorts data_ports_;
  u32 address_ = 0;
};

}  // namespace doppel
