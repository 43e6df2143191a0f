// ResetControl: the chipset's reset register at port 0xcf9, inside the PCI configuration address register.
#pragma once

#include "bus/bus_device.h"
#include "devices/machine_control.h"
#include "state/state_visitor.h"

namespace doppel {

// Mapped at ports 0xcf8..0xcfb. As on Intel chipsets only a byte access to 0xcf9 reaches the reset register;
// every other access belongs to the PCI host bridge, or to nobody when the machine has none. Owned by the
// registry's DeviceParts; called with the device lock held.
class ResetControl final : public Component, public BusDevice {
 public:
  explicit ResetControl(MachineControl& machine, BusDevice* pci_config_address = nullptr)
      : machine_(machine), pci_config_address_(pci_config_address) {}

  std::string_view name() const override { return "reset_control"; }
  void reset() override { value_ = 0; }
  void visit_state(StateVisitor& visitor) override;

  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

 private:
  MachineControl& machine_;
  BusDevice* pci_config_address_;  // sees offsets from 0xcf8
  u8 value_ = 0;
};

}  // namespace doppel
