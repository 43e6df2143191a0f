// Making and plugging in virtio devices.
#include "machine/virtio_slots.h"

#include <algorithm>
#include <map>

#include "devices/port_map.h"

namespace doppel {

void VirtioSlots::MmioLine::set_level(bool is_high) {
  if (is_high == is_asserted) return;
  is_asserted = is_high;
  shared.asserted += is_high ? 1 : ~0u;
  shared.line->set_level(shared.asserted != 0);
}

VirtioSlots::VirtioSlots(const VirtioEnvironment& environment, MachineBuses& buses, IrqRouter& router,
                         PciBus& pci)
    : environment_(environment), buses_(buses), router_(router), pci_(pci) {
  for (const u8 irq : kVirtioMmioIrqs) shared_lines_.push_back({&router_.isa(irq)});
}

Result<void> VirtioSlots::check_id(const std::string& id) {
  if (!id.empty() && !ids_.insert(id).second) return fail_usage("id '{}' is given to two devices", id);
  return {};
}

Result<void> VirtioSlots::add_all(std::span<const DeviceOption> options) {
  const auto rows = virtio_rows();
  std::set<std::string_view> made;  // options whose values make one device
  for (const DeviceOption& option : options) {
    const auto row = std::ranges::find(rows, option.option, &VirtioRow::option);
    if (row == rows.end()) return fail_usage("{}: there is no such device", option.option);
    if (row->make_of_all == nullptr) {
      MadeVirtioDevice device = TRY(row->make(option.value, environment_));
      TRY_VOID(add(std::move(device)));
    } else if (made.insert(row->option).second) {
      std::vector<std::string> values;
      for (const DeviceOption& one : options) {
        if (one.option == row->option) values.push_back(one.value);
      }
      MadeVirtioDevice device = TRY(row->make_of_all(values, environment_));
      TRY_VOID(add(std::move(device)));
    }
  }
  return {};
}

Result<void> VirtioSlots::add(MadeVirtioDevice made) {
  TRY_VOID(check_id(made.id));
  if (made.console_input != nullptr) console_input_ = made.console_input;
  if (made.balloon != nullptr) balloon_ = made.balloon;
  if (made.terminal_console != nullptr) terminal_console_ = made.terminal_console;
  devices_.push_back(made.device.get());
  const VirtioOptions options{.has_packed = made.placement.offers_packed};
  if (made.placement.transport == VirtioTransport::kMmio) return plug_mmio(std::move(made), options);
  return plug_pci(std::move(made), options);
}

Result<void> VirtioSlots::plug_mmio(MadeVirtioDevice made, const VirtioOptions& options) {
  const std::size_t index = mmio_places_.size();
  if (index >= kVirtioMmioSlots)
    return fail_usage("more than {} devices with transport=mmio", kVirtioMmioSlots);
  const std::size_t wire = index % kVirtioMmioIrqs.size();
  const u64 address = kVirtioMmioAddress + index * VirtioMmio::kSize;
  std::string label = fmt::format("{} mmio{}", made.device->name(), index);
  mmio_lines_.push_back(std::make_unique<MmioLine>(shared_lines_[wire]));
  auto transport =
      std::make_unique<VirtioMmio>(environment_.memory, std::move(made.device), options, *mmio_lines_.back());
  TRY_VOID(buses_.memory.add(address, VirtioMmio::kSize, *transport, std::move(label)));
  transports_.push_back(std::move(transport));
  mmio_places_.push_back({address, kVirtioMmioIrqs[wire]});
  return {};
}

Result<void> VirtioSlots::plug_pci(MadeVirtioDevice made, const VirtioOptions& options) {
  auto transport = std::make_unique<VirtioPci>(environment_.memory, std::move(made.device), options);
  TRY_VOID(pci_.plug(transport->function()));
  transports_.push_back(std::move(transport));
  return {};
}

std::vector<Component*> VirtioSlots::components() const {
  std::vector<Component*> all;
  for (const auto& transport : transports_) all.push_back(transport.get());
  return all;
}

std::string VirtioSlots::statistics_text() const {
  std::string text;
  std::map<std::string_view, unsigned> seen;
  for (const VirtioDevice* device : devices_) {
    const unsigned number = seen[device->name()]++;
    for (const auto& [counter, value] : device->counter_values()) {
      text += fmt::format("{}{}_{} {}\n", device->name(), number, counter, value);
    }
  }
  return text;
}

}  // namespace doppel
