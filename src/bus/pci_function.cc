// Configuration registers: write masks, base addresses, the capability list and the interrupt pin.
#include "bus/pci_function.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/log.h"
#include "base/verify.h"

namespace doppel {

using namespace pci;

namespace {

constexpr u64 kPortSpace = 0x10000;
constexpr u64 kMaxIoBar = 256;  // PCI 3.0 6.2.5.1
constexpr u64 kMinMemoryBar = 16;
constexpr u64 kMinIoBar = 4;
constexpr unsigned kCapabilityHeader = 2;

constexpr bool overlaps(u64 first, u64 first_size, u64 second, u64 second_size) {
  return first < second + second_size && second < first + first_size;
}

u32 bar_flags(BarKind kind) {
  switch (kind) {
    case BarKind::kIo:
      return kBarIo;
    case BarKind::kMemory32:
      return 0;
    case BarKind::kMemory64:
      return kBarMemory64;
    case BarKind::kMemory64Prefetchable:
      return kBarMemory64 | kBarPrefetchable;
  }
  return 0;
}

constexpr u64 bar_register(unsigned index) { return kBar0 + 4 * u64{index}; }

}  // namespace

PciFunction::PciFunction(const PciIdentity& identity) : name_(identity.name) {
  store_power_on(kVendorId, 2, identity.vendor_id);
  store_power_on(kDeviceId, 2, identity.device_id);
  store_power_on(kRevision, 1, identity.revision);
  store_power_on(kClass, 3, identity.class_code);
  store_power_on(kSubsystemVendorId, 2, identity.subsystem_vendor_id);
  store_power_on(kSubsystemId, 2, identity.subsystem_id);
  store_power_on(kInterruptPin, 1, identity.has_interrupt_pin ? 1 : 0);
  const u16 command = kCommandBusMaster | kCommandParityResponse | kCommandSystemError;
  store_le(std::span(writable_).subspan(kCommand, 2),
           identity.has_interrupt_pin ? command | kCommandInterruptDisable : command);
  writable_[kCacheLineSize] = 0xff;
  writable_[kLatencyTimer] = 0xff;
  if (identity.has_interrupt_pin) writable_[kInterruptLine] = 0xff;
}

void PciFunction::store(u64 offset, unsigned size, u64 value) {
  store_le(std::span(config_).subspan(offset, size), value);
}

void PciFunction::store_power_on(u64 offset, unsigned size, u64 value) {
  store(offset, size, value);
  store_le(std::span(power_on_).subspan(offset, size), value);
}

void PciFunction::add_bar(unsigned index, BarKind kind, u64 size, BusDevice& device) {
  const PciBar bar{kind, size, &device};
  const unsigned registers = bar.is_64_bit() ? 2 : 1;
  VERIFY(index + registers <= kBarCount && bars_[index].size == 0);
  VERIFY(std::has_single_bit(size) && size >= (bar.is_io() ? kMinIoBar : kMinMemoryBar));
  VERIFY(!bar.is_io() || size <= kMaxIoBar);
  VERIFY(bar.is_64_bit() || size <= u64{1} << 31);
  bars_[index] = bar;
  store_power_on(bar_register(index), 4, bar_flags(kind));
  store_le(std::span(writable_).subspan(bar_register(index), 4 * registers), ~(size - 1));
  writable_[kCommand] |= bar.is_io() ? kCommandIo : kCommandMemory;
}

u8 PciFunction::add_capability(u8 id, std::span<const u8> body, std::span<const u8> writable,
                               PciCapability* handler) {
  const u64 offset = capabilities_.empty()
                         ? kFirstCapability
                         : align_up(u64{capabilities_.back().offset} + capabilities_.back().size, 4);
  const u64 size = kCapabilityHeader + body.size();
  VERIFY(offset + size <= kLegacyConfigSize && (writable.empty() || writable.size() == body.size()));
  const u64 link = capabilities_.empty() ? kCapabilityPointer : u64{capabilities_.back().offset} + 1;
  store_power_on(link, 1, offset);
  store_power_on(kStatus, 2, load(kStatus, 2) | kStatusCapabilities);
  store_power_on(offset, 1, id);
  const u64 start = offset + kCapabilityHeader;
  std::ranges::copy(body, config_.begin() + static_cast<std::ptrdiff_t>(start));
  std::ranges::copy(body, power_on_.begin() + static_cast<std::ptrdiff_t>(start));
  std::ranges::copy(writable, writable_.begin() + static_cast<std::ptrdiff_t>(start));
  capabilities_.push_back({static_cast<u8>(offset), static_cast<u8>(size), handler});
  return static_cast<u8>(offset);
}

void PciFunction::connect(PciConnection connection) { connection_ = std::move(connection); }

void PciFunction::set_power_on_address(unsigned bar, u64 address) {
  VERIFY(bars_[bar].size != 0 && address % bars_[bar].size == 0);
  const unsigned size = bars_[bar].is_64_bit() ? 8 : 4;
  store_power_on(bar_register(bar), size, address | bar_flags(bars_[bar].kind));
}

void PciFunction::set_power_on_interrupt_line(u8 line) { store_power_on(kInterruptLine, 1, line); }

void PciFunction::set_power_on_decoding() {
  store_power_on(kCommand, 1, writable_[kCommand] & (kCommandIo | kCommandMemory));
}

void PciFunction::set_multi_function() {
  store_power_on(kHeaderType, 1, config_[kHeaderType] | kHeaderMultiFunction);
}

void PciFunction::read_config(u64 offset, std::span<u8> data) {
  for (const Capability& capability : capabilities_) {
    if (capability.handler == nullptr) continue;
    if (!overlaps(offset, data.size(), capability.offset, capability.size)) continue;
    const u64 start = std::max<u64>(offset, capability.offset);
    const u64 end = std::min<u64>(offset + data.size(), u64{capability.offset} + capability.size);
    capability.handler->before_read(start - capability.offset, end - start);
  }
  for (std::size_t i = 0; i < data.size(); ++i) {
    const u64 at = offset + i;
    data[i] = at < config_.size() ? config_[at] : at < kConfigSize ? 0 : 0xff;
  }
}

void PciFunction::write_config(u64 offset, std::span<const u8> data) {
  const u16 old_command = command();
  for (std::size_t i = 0; i < data.size() && offset + i < config_.size(); ++i) {
    const u8 mask = writable_[offset + i];
    u8& byte = config_[offset + i];
    byte = static_cast<u8>((byte & ~mask) | (data[i] & mask));
  }
  written(offset, data.size(), old_command);
}

void PciFunction::written(u64 offset, u64 size, u16 old_command) {
  constexpr u16 kDecoding = kCommandIo | kCommandMemory;
  const bool is_switched = ((old_command ^ command()) & kDecoding) != 0;
  const bool is_moved = (command() & kDecoding) != 0 && overlaps(offset, size, kBar0, 4 * u64{kBarCount});
  for (const Capability& capability : capabilities_) {
    if (capability.handler == nullptr) continue;
    if (!overlaps(offset, size, capability.offset, capability.size)) continue;
    const u64 start = std::max<u64>(offset, capability.offset);
    const u64 end = std::min<u64>(offset + size, u64{capability.offset} + capability.size);
    capability.handler->written(start - capability.offset, end - start);
  }
  if (is_switched || is_moved) notify_decoding();
  update_interrupt();
}

void PciFunction::notify_decoding() {
  if (connection_.decoding_changed) connection_.decoding_changed();
}

u64 PciFunction::bar_address(unsigned index) const {
  const PciBar& bar = bars_[index];
  if (bar.is_io()) return load(bar_register(index), 4) & ~u64{kBarIoFlags};
  return load(bar_register(index), bar.is_64_bit() ? 8 : 4) & ~u64{kBarMemoryFlags};
}

std::optional<u64> PciFunction::decoded_address(unsigned index) const {
  const PciBar& bar = bars_[index];
  const u16 needed = bar.is_io() ? kCommandIo : kCommandMemory;
  if (bar.size == 0 || (command() & needed) == 0) return std::nullopt;
  const u64 address = bar_address(index);
  if (address == 0 || address + (bar.size - 1) < address) return std::nullopt;
  if (bar.is_io() && address + bar.size > kPortSpace) return std::nullopt;
  return address;
}

std::span<u8> PciFunction::capability_bytes(u8 offset) {
  const auto found = std::ranges::find(capabilities_, offset, &Capability::offset);
  VERIFY(found != capabilities_.end());
  return std::span(config_).subspan(offset, found->size);
}

std::span<const u8> PciFunction::capability_bytes(u8 offset) const {
  return const_cast<PciFunction&>(*this).capability_bytes(offset);
}

void PciFunction::set_interrupt(bool is_asserted) {
  const u64 status = load(kStatus, 2);
  store(kStatus, 2, is_asserted ? status | kStatusInterrupt : status & ~u64{kStatusInterrupt});
  update_interrupt();
}

void PciFunction::update_interrupt() {
  if (connection_.interrupt == nullptr || !has_interrupt_pin()) return;
  const bool is_asserted = (load(kStatus, 2) & kStatusInterrupt) != 0;
  const bool is_masked = (command() & kCommandInterruptDisable) != 0;
  const bool is_replaced = std::ranges::any_of(capabilities_, [](const Capability& capability) {
    return capability.handler != nullptr && capability.handler->replaces_interrupt_pin();
  });
  connection_.interrupt->set_level(is_asserted && !is_masked && !is_replaced);
}

void PciFunction::send_message(u64 address, u32 data) {
  if (!is_bus_master()) {
    LOG_GUEST("pci: message interrupt of a function that is no bus master");
    return;
  }
  if (connection_.messages != nullptr) connection_.messages->send(address, data);
}

void PciFunction::reset() {
  config_ = power_on_;
  notify_decoding();
  update_interrupt();
}

void PciFunction::visit_state(StateVisitor& visitor) {
  visitor.begin("pci_function");
  Bytes bytes = config_;
  visitor.field("config", bytes);
  visitor.end();
  if (!visitor.is_loading()) return;
  const u16 status = static_cast<u16>(load_le(std::span(bytes).subspan(kStatus, 2)));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    config_[i] = static_cast<u8>((power_on_[i] & ~writable_[i]) | (bytes[i] & writable_[i]));
  }
  if (has_interrupt_pin() && (status & kStatusInterrupt) != 0) config_[kStatus] |= kStatusInterrupt;
  notify_decoding();
  update_interrupt();
}

}  // namespace doppel
