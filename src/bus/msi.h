// Msi: the plain MSI capability of a PCI function, with one message.
#pragma once

#include "bus/pci_function.h"

namespace doppel {

// PCI 3.0 6.8.1, with a 64-bit address and without masking; its registers are part of the function's state.
// Owned by the device beside the function. Called with the device lock held.
class Msi final : public PciCapability {
 public:
  explicit Msi(PciFunction& function);

  bool is_enabled() const;
  // Sends the message; nothing happens while MSI is off.
  void raise();

  void written(u64, u64) override {}
  bool replaces_interrupt_pin() const override { return is_enabled(); }

 private:
  PciFunction& function_;
  u8 capability_;  // offset in configuration space
};

}  // namespace doppel
