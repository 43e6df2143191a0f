// The configuration ports and the host bridge's registers.
#include "devices/pci_host.h"

#include <array>

namespace doppel {
namespace {

constexpr u32 kEnable = u32{1} << 31;
constexpr u32 kFunction = 0xffff00;  // bus, device and function
constexpr u32 kRegister = 0xfc;
constexpr u32 kAddressBits = kEnable | kFunction | kRegister;

// The header's first registers; all others are 0. PCI Local Bus Specification 3.0, 6.1. The identification is
// that of a host bridge of virtual machines, with which no guest connects defects of a chip.
constexpr std::array<u32, 3> kHostBridge = {
    0x00081b36,  // device and vendor
    0x00000000,  // status and command: decodes nothing
    0x06000000,  // class: host bridge
};

}  // namespace

bool PciHost::selects_host_bridge() const { return (address_ & (kEnable | kFunction)) == kEnable; }

// Only dword accesses reach the address register.
void PciHost::AddressPorts::read(u64 offset, std::span<u8> data) {
  const bool is_whole = offset == 0 && data.size() == sizeof(address_);
  store_le(data, is_whole ? host.address_ : ~u64{0});
}

void PciHost::AddressPorts::write(u64 offset, std::span<const u8> data) {
  if (offset != 0 || data.size() != sizeof(address_)) return;
  host.address_ = static_cast<u32>(load_le(data)) & kAddressBits;
}

void PciHost::DataPorts::read(u64 offset, std::span<u8> data) {
  if (!host.selects_host_bridge()) return store_le(data, ~u64{0});
  const u64 index = (host.address_ & kRegister) / sizeof(u32);
  const u32 value = index < kHostBridge.size() ? kHostBridge[index] : 0;
  store_le(data, u64{value} >> (8 * offset));
}

// The host bridge has no register that could be changed.
void PciHost::DataPorts::write(u64, std::span<const u8>) {}

void PciHost::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  visitor.field("address", address_);
  visitor.end();
  if (visitor.is_loading()) address_ &= kAddressBits;
}

}  // namespace doppel
