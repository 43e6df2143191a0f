// PanicPort: how a guest kernel tells that it has panicked.
#pragma once

#include "bus/bus_device.h"
#include "devices/machine_control.h"
#include "state/state_visitor.h"

namespace doppel {

// The device that guests know as pvpanic (ACPI id QEMU0001): reading gives the supported events, writing
// reports one. Owned by the registry's DeviceParts; called with the device lock held.
class PanicPort final : public Component, public BusDevice {
 public:
  static constexpr u8 kEventPanicked = 1 << 0;
  static constexpr u8 kEventCrashKernelLoaded = 1 << 1;  // panicked, but a crash kernel takes over
  static constexpr u8 kSupportedEvents = kEventPanicked | kEventCrashKernelLoaded;

  explicit PanicPort(MachineControl& machine) : machine_(machine) {}

  std::string_view name() const override { return "panic_port"; }
  void reset() override {}
  void visit_state(StateVisitor& visitor) override;

  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

 private:
  MachineControl& machine_;
};

}  // namespace doppel
