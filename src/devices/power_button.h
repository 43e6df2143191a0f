// PowerButton: what the outside presses to ask the guest to shut down.
#pragma once

namespace doppel {

// Called by the machine with the device lock held.
class PowerButton {
 public:
  virtual ~PowerButton() = default;
  // A short press. The guest decides what it means; it is ignored until the guest has enabled ACPI.
  virtual void press_power_button() = 0;
};

}  // namespace doppel
