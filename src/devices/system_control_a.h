// SystemControlA: port 0x92, the fast way to gate A20 and to reset.
#pragma once

#include "bus/bus_device.h"
#include "devices/machine_control.h"
#include "state/state_visitor.h"

namespace doppel {

// System control port A of the PS/2. The A20 bit is remembered but gates nothing: address line 20 is always
// connected, as firmware leaves it. Owned by the registry's DeviceParts; called with the device lock held.
class SystemControlA final : public Component, public BusDevice {
 public:
  explicit SystemControlA(MachineControl& machine) : machine_(machine) {}

  std::string_view name() const override { return "system_control_a"; }
  void reset() override { value_ = kA20Gate; }
  void visit_state(StateVisitor& visitor) override;

  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

 private:
  static constexpr u8 kFastReset = 1 << 0;
  static constexpr u8 kA20Gate = 1 << 1;

  MachineControl& machine_;
  u8 value_ = kA20Gate;
};

}  // namespace doppel
