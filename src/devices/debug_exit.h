// DebugExit: a port through which a test guest ends the process with a status of its choice.
#pragma once

#include "bus/bus_device.h"
#include "devices/machine_control.h"
#include "state/state_visitor.h"

namespace doppel {

// The device test kernels know as isa-debug-exit: writing v asks for exit status (v << 1) | 1, so that no
// guest can fake success (0). Owned by the registry's DeviceParts; called with the device lock held.
class DebugExit final : public Component, public BusDevice {
 public:
  explicit DebugExit(MachineControl& machine) : machine_(machine) {}

  std::string_view name() const override { return "debug_exit"; }
  void reset() override {}
  void visit_state(StateVisitor& visitor) override;

  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

 private:
  MachineControl& machine_;
};

}  // namespace doppel
