// The configuration ports, the memory-mapped configuration space and the host bridge's registers.
#include "devices/pci_host.h"

#include <algorithm>

namespace doppel {
namespace {

constexpr u32 kEnable = u32{1} << 31;
constexpr u32 kFunction = 0xffff00;  // bus, device and function
constexpr u32 kRegister = 0xfc;
constexpr u32 kAddressBits = kEnable | kFunction | kRegister;

// The identification is that of a host bridge of virtual machines, with which no guest connects defects of a
// chip.
constexpr PciIdentity kHostBridge = {.vendor_id = 0x1b36, .device_id = 0x0008, .class_code = 0x060000};

}  // namespace

PciHost::PciHost(PciBus& bus)
    : bus_(bus), bridge_(kHostBridge), address_ports_(*this), data_ports_(*this), ecam_(*this) {}

void PciHost::reset() {
  address_ = 0;
  bridge_.reset();
}

bool PciHost::is_window_open() const { return (address_ & kEnable) != 0; }
unsigned PciHost::selected_bus() const { return static_cast<unsigned>(bits(address_, 16, 8)); }
unsigned PciHost::selected_function() const { return static_cast<unsigned>(bits(address_, 8, 8)); }
u64 PciHost::selected_register(u64 offset) const { return (address_ & kRegister) + offset; }

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
  if (!host.is_window_open()) return store_le(data, ~u64{0});
  host.bus_.read_config(host.selected_bus(), host.selected_function(), host.selected_register(offset), data);
}

void PciHost::DataPorts::write(u64 offset, std::span<const u8> data) {
  if (!host.is_window_open()) return;
  host.bus_.write_config(host.selected_bus(), host.selected_function(), host.selected_register(offset), data);
}

// An access across two functions' pages, which no processor makes in one piece, is split at the border.
void PciHost::Ecam::read(u64 offset, std::span<u8> data) {
  const u64 here = std::min<u64>(data.size(), pci::kConfigSize - offset % pci::kConfigSize);
  host.bus_.read_config(0, static_cast<unsigned>(offset / pci::kConfigSize), offset % pci::kConfigSize,
                        data.first(here));
  if (here < data.size()) read(offset + here, data.subspan(here));
}

void PciHost::Ecam::write(u64 offset, std::span<const u8> data) {
  const u64 here = std::min<u64>(data.size(), pci::kConfigSize - offset % pci::kConfigSize);
  host.bus_.write_config(0, static_cast<unsigned>(offset / pci::kConfigSize), offset % pci::kConfigSize,
                         data.first(here));
  if (here < data.size()) write(offset + here, data.subspan(here));
}

void PciHost::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  visitor.field("address", address_);
  bridge_.visit_state(visitor);
  visitor.end();
  if (visitor.is_loading()) address_ &= kAddressBits;
}

}  // namespace doppel
