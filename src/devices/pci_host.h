// PciHost: the host bridge, and the two ways in which guests reach the PCI bus's configuration space.
#pragma once

#include "bus/pci_bus.h"

namespace doppel {

// Function 0 of device 0, PCI configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2: a dword
// at 0xcf8 chooses a register, 0xcfc..0xcff are a window onto it) and the memory-mapped configuration space
// of bus 0 (PCI Express 4.0 7.2.2, announced by the MCFG table). Owned by the machine, which maps the data
// ports and ecam(); the address ports belong to the reset control device, which passes on what is not its
// own. Called with the device lock held.
class PciHost final : public Component {
 public:
  explicit PciHost(PciBus& bus);

  // Takes its place on the bus; once.
  Result<void> plug() { return bus_.plug(bridge_, 0); }

  BusDevice& address_ports() { return address_ports_; }
  BusDevice& data_ports() { return data_ports_; }
  // One MiB: a page for each function of bus 0.
  BusDevice& ecam() { return ecam_; }

  std::string_view name() const override { return "pci_host"; }
  void reset() override;
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
  struct Ecam final : BusDevice {
    explicit Ecam(PciHost& host) : host(host) {}
    void read(u64 offset, std::span<u8> data) override;
    void write(u64 offset, std::span<const u8> data) override;
    PciHost& host;
  };

  bool is_window_open() const;
  unsigned selected_bus() const;
  unsigned selected_function() const;
  u64 selected_register(u64 offset) const;

  PciBus& bus_;
  PciFunction bridge_;
  AddressPorts address_ports_;
  DataPorts data_ports_;
  Ecam ecam_;
  u32 address_ = 0;
};

}  // namespace doppel
