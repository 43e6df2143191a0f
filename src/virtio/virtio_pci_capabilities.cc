// The capabilities of virtio over PCI, and access to the BARs through one of them.
#include <algorithm>

#include "bus/pci_registers.h"
#include "virtio/virtio_pci.h"
#include "virtio/virtio_pci_layout.h"

namespace doppel {

using namespace virtio_pci;

namespace {

constexpr u8 kPlainLength = 16;
constexpr u8 kLongLength = 20;

CapabilityBody body(Region region, u64 start, u64 size) {
  return {.length = kPlainLength,
          .region = region,
          .bar = VirtioPci::kRegisterBar,
          .id = 0,
          .padding = 0,
          .offset_low = static_cast<u16>(start),
          .offset_high = static_cast<u16>(start >> 16),
          .length_low = static_cast<u16>(size),
          .length_high = static_cast<u16>(size >> 16),
          .extra_low = 0,
          .extra_high = 0};
}

std::span<const u8> bytes_of(const CapabilityBody& capability) {
  return {reinterpret_cast<const u8*>(&capability), capability.length - std::size_t{2}};
}

}  // namespace

void VirtioPci::add_capabilities() {
  auto add = [&](const CapabilityBody& capability) {
    function_.add_capability(pci::kCapabilityVendor, bytes_of(capability));
  };
  add(body(Region::kCommon, kCommonStart, sizeof(CommonConfig)));
  add(body(Region::kIsr, kIsrStart, 1));
  add(body(Region::kDevice, kDeviceStart, kNotifyStart - kDeviceStart));
  CapabilityBody notify = body(Region::kNotify, kNotifyStart, kBarSize - kNotifyStart);
  notify.length = kLongLength;
  notify.extra_low = kNotifyMultiplier;
  add(notify);
  CapabilityBody access = body(Region::kConfigAccess, 0, 0);
  access.length = kLongLength;
  CapabilityBody writable = {};
  writable.length = kLongLength;  // of the mask; the register itself stays read-only, see below
  writable.bar = 0xff;
  writable.offset_low = writable.offset_high = writable.length_low = writable.length_high = 0xffff;
  writable.extra_low = writable.extra_high = 0xffff;
  std::array<u8, kLongLength - 2> mask = {};
  std::ranges::copy(bytes_of(writable), mask.begin());
  mask[0] = 0;
  config_access_.set_capability(
      function_.add_capability(pci::kCapabilityVendor, bytes_of(access), mask, &config_access_));
}

BusDevice* VirtioPci::ConfigAccess::target(u64& offset, u32& length) const {
  const std::span<const u8> bytes = std::as_const(function_).capability_bytes(capability_);
  const u8 bar = bytes[4];
  offset = load_le(bytes.subspan(8, 4));
  length = static_cast<u32>(load_le(bytes.subspan(12, 4)));
  // 4.1.4.9.1: 1, 2 or 4 bytes, aligned; the offset is inside the BAR.
  if (bar >= pci::kBarCount || (length != 1 && length != 2 && length != 4) || offset % length != 0)
    return nullptr;
  const PciBar& region = function_.bar(bar);
  return region.device != nullptr && offset < region.size ? region.device : nullptr;
}

void VirtioPci::ConfigAccess::before_read(u64 offset, u64 size) {
  if (offset + size <= 16) return;
  u64 place = 0;
  u32 length = 0;
  if (BusDevice* device = target(place, length)) device->read(place, data().first(length));
}

void VirtioPci::ConfigAccess::written(u64 offset, u64 size) {
  if (offset + size <= 16) return;
  u64 place = 0;
  u32 length = 0;
  if (BusDevice* device = target(place, length)) device->write(place, data().first(length));
}

}  // namespace doppel
