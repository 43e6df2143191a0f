// The registers of the MSI capability and the message made of them.
#include "bus/msi.h"

namespace doppel {
namespace {

// PCI 3.0 6.8.1: offsets in the capability, and bits of message control.
constexpr u64 kControl = 2;
constexpr u64 kAddress = 4;
constexpr u64 kData = 12;
constexpr u8 kEnable = 1 << 0;
constexpr u8 kHas64BitAddress = 1 << 7;

}  // namespace

Msi::Msi(PciFunction& function) : function_(function) {
  const std::array<u8, 12> body = {kHas64BitAddress};
  constexpr std::array<u8, 12> kWritable = {kEnable, 0,    0xfc, 0xff, 0xff, 0xff,
                                            0xff,    0xff, 0xff, 0xff, 0xff, 0xff};
  capability_ = function.add_capability(pci::kCapabilityMsi, body, kWritable, this);
}

bool Msi::is_enabled() const { return (function_.capability_bytes(capability_)[kControl] & kEnable) != 0; }

void Msi::raise() {
  if (!is_enabled()) return;
  const std::span<const u8> bytes = function_.capability_bytes(capability_);
  function_.send_message(load_le(bytes.subspan(kAddress, 8)),
                         static_cast<u32>(load_le(bytes.subspan(kData, 2))));
}

}  // namespace doppel
