// GeneralEvents: how parts of the machine tell the guest's ACPI code that something happened.
#pragma once

namespace doppel {

// General-purpose event block 0. Called by the machine with the device lock held.
class GeneralEvents {
 public:
  virtual ~GeneralEvents() = default;
  // Event 0..15: sets its status bit; the guest clears it. What it means is said by the DSDT.
  virtual void raise_general_event(unsigned index) = 0;
};

}  // namespace doppel
