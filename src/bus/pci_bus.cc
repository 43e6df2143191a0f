// Plugging functions in, mapping what they decode, and sharing interrupt inputs.
#include "bus/pci_bus.h"

#include <algorithm>

#include "base/log.h"
#include "base/verify.h"

namespace doppel {
namespace {

enum WindowIndex : u8 { kIoWindow, kMemory32Window, kMemory64Window };

WindowIndex window_of(const PciBar& bar) {
  if (bar.is_io()) return kIoWindow;
  return bar.is_64_bit() && bar.size > PciBus::kLargestLowBar ? kMemory64Window : kMemory32Window;
}

}  // namespace

PciBus::PciBus(AddressMap& ports, AddressMap& memory, MsiSink& messages, const PciResources& resources)
    : ports_(ports),
      memory_(memory),
      messages_(messages),
      resources_(resources),
      next_free_{resources.io.base, resources.memory32.base, resources.memory64.base} {}

Result<void> PciBus::plug(PciFunction& function, unsigned device, unsigned number) {
  if (device >= kDevices || number >= kFunctions) return fail("PCI has no slot {:02x}.{}", device, number);
  std::unique_ptr<Slot>& slot = slots_[device * kFunctions + number];
  if (slot != nullptr) return fail("PCI slot {:02x}.{} is taken", device, number);
  if (number != 0) {
    const std::unique_ptr<Slot>& first = slots_[device * kFunctions];
    if (first == nullptr) return fail("PCI device {:02x} has no function 0", device);
    first->function->set_multi_function();
  }
  TRY_VOID(assign_addresses(function));
  slot = std::make_unique<Slot>();
  slot->bus = this;
  slot->function = &function;
  slot->device = device;
  slot->label = fmt::format("{} {:02x}.{}", function.name(), device, number);
  if (function.has_interrupt_pin()) {
    function.set_power_on_interrupt_line(resources_.legacy_irqs[PciResources::legacy_line_of(device)]);
  }
  function.set_power_on_decoding();
  function.connect({[this] { map_bars(); }, slot.get(), &messages_});
  map_bars();
  return {};
}

Result<unsigned> PciBus::plug(PciFunction& function) {
  for (unsigned device = 0; device < kDevices; ++device) {
    if (slots_[device * kFunctions] != nullptr) continue;
    TRY_VOID(plug(function, device));
    return device;
  }
  return fail("all {} devices of the PCI bus are taken", kDevices);
}

Result<u64> PciBus::allocate(const PciBar& bar) {
  const std::array<PciWindow, 3> windows = {resources_.io, resources_.memory32, resources_.memory64};
  const WindowIndex index = window_of(bar);
  const u64 end = windows[index].base + windows[index].size;
  const u64 address = align_up(next_free_[index], bar.size);
  if (address < next_free_[index] || address > end || bar.size > end - address) {
    return fail("no room for a PCI range of {:#x} bytes below {:#x}", bar.size, end);
  }
  next_free_[index] = address + bar.size;
  return address;
}

Result<void> PciBus::assign_addresses(PciFunction& function) {
  for (unsigned i = 0; i < pci::kBarCount; ++i) {
    if (function.bar(i).size == 0) continue;
    function.set_power_on_address(i, TRY(allocate(function.bar(i))));
  }
  return {};
}

PciFunction* PciBus::find(unsigned bus, unsigned device_function) const {
  if (bus != 0 || device_function >= kSlots || slots_[device_function] == nullptr) return nullptr;
  return slots_[device_function]->function;
}

void PciBus::read_config(unsigned bus, unsigned device_function, u64 offset, std::span<u8> data) {
  if (PciFunction* function = find(bus, device_function)) return function->read_config(offset, data);
  std::ranges::fill(data, 0xff);
}

void PciBus::write_config(unsigned bus, unsigned device_function, u64 offset, std::span<const u8> data) {
  if (PciFunction* function = find(bus, device_function)) function->write_config(offset, data);
}

// A bus has a few dozen BARs that move a few times during a boot: starting over keeps the order's rule
// simple.
void PciBus::map_bars() {
  for (const Mapping& mapping : mappings_) mapping.map->remove(mapping.base);
  mappings_.clear();
  for (const std::unique_ptr<Slot>& slot : slots_) {
    if (slot == nullptr) continue;
    for (unsigned i = 0; i < pci::kBarCount; ++i) map_bar(*slot, i);
  }
}

void PciBus::map_bar(const Slot& slot, unsigned index) {
  PciFunction& function = *slot.function;
  const std::optional<u64> address = function.decoded_address(index);
  if (!address) return;
  const PciBar& bar = function.bar(index);
  AddressMap& map = bar.is_io() ? ports_ : memory_;
  if (map.add(*address, bar.size, *bar.device, slot.label)) {
    mappings_.push_back({&map, *address});
  } else {
    LOG_GUEST("pci: base address register {} at {:#x} overlaps another range", index, *address);
  }
}

void PciBus::Slot::set_level(bool is_high) {
  if (is_high == is_asserted) return;
  is_asserted = is_high;
  bus->input_changed(device, is_high);
}

// Inputs are shared: low when nobody asserts them.
void PciBus::input_changed(unsigned device, bool is_high) {
  const unsigned input = PciResources::input_of(device);
  asserted_[input] += is_high ? 1u : ~0u;
  if (resources_.inputs[input] != nullptr) resources_.inputs[input]->set_level(asserted_[input] != 0);
  const unsigned line = PciResources::legacy_line_of(device);
  bool is_line_high = false;
  for (unsigned i = line; i < PciResources::kInputs; i += PciResources::kLegacyLines) {
    is_line_high = is_line_high || asserted_[i] != 0;
  }
  if (resources_.legacy_lines[line] != nullptr) resources_.legacy_lines[line]->set_level(is_line_high);
}

}  // namespace doppel
