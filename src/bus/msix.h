// Msix: the MSI-X capability of a PCI function with its vector table and pending bits.
#pragma once

#include <vector>

#include "bus/pci_function.h"

namespace doppel {

// PCI 3.0 6.8.2. Adds itself to `function`: one 32-bit memory BAR of its own (the table in the first half,
// the pending bits in the second) and the capability. Owned by the device beside the function, which forwards
// reset() and visit_state() after the function's. Called with the device lock held.
class Msix final : public PciCapability, public BusDevice {
 public:
  static constexpr u16 kMaxVectors = 2048;

  // `vector_count` is 1..kMaxVectors.
  Msix(PciFunction& function, unsigned bar, u16 vector_count);

  u16 vector_count() const { return vector_count_; }
  bool is_enabled() const;
  // Sends the message of `vector`, or remembers it while it is masked. Nothing happens while MSI-X is off, or
  // for a vector that does not exist (0xffff is virtio's "none").
  void raise(u16 vector);

  void reset();
  void visit_state(StateVisitor& visitor);

  void written(u64 offset, u64 size) override;
  bool replaces_interrupt_pin() const override { return is_enabled(); }

  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

 private:
  static constexpr u64 kEntrySize = 16;

  u16 control() const;
  bool is_masked(u16 vector) const;
  u64 pending_start() const { return bar_size_ / 2; }
  bool is_pending(u16 vector) const { return bit(pending_[vector / 8], vector % 8); }
  void send(u16 vector);
  void send_pending();

  PciFunction& function_;
  u16 vector_count_;
  u64 bar_size_;
  u8 capability_;            // offset in configuration space
  std::vector<u8> table_;    // kEntrySize bytes a vector
  std::vector<u8> pending_;  // one bit a vector
};

}  // namespace doppel
