// Separates the reset register from the PCI configuration address that surrounds it.
#include "devices/reset_control.h"

namespace doppel {

namespace {

// Intel ICH9 data sheet 13.7.5: RST_CNT.
constexpr u8 kSystemReset = 1 << 1;  // chooses a hard reset
constexpr u8 kResetCpu = 1 << 2;     // a rising edge resets
constexpr u8 kFullReset = 1 << 3;    // power-cycles too

bool is_reset_register(u64 offset, std::size_t size) { return offset == 1 && size == 1; }

}  // namespace

void ResetControl::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  visitor.field("value", value_);
  visitor.end();
}

void ResetControl::read(u64 offset, std::span<u8> data) {
  if (is_reset_register(offset, data.size())) return store_le(data, value_);
  if (pci_config_address_ != nullptr) return pci_config_address_->read(offset, data);
  store_le(data, ~u64{0});
}

void ResetControl::write(u64 offset, std::span<const u8> data) {
  if (!is_reset_register(offset, data.size())) {
    if (pci_config_address_ != nullptr) pci_config_address_->write(offset, data);
    return;
  }
  value_ = data[0] & (kSystemReset | kFullReset);  // bit 2 falls back with the reset that it causes
  if ((data[0] & kResetCpu) != 0) machine_.request_stop(StopReason::kReset, 0);
}

}  // namespace doppel
