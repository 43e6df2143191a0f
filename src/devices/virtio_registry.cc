// The table of virtio devices. A new one adds its include, its maker and one row.
#include "devices/virtio_registry.h"

#include <algorithm>
#include <array>

namespace doppel {
namespace {

MadeVirtioDevice make_rng(const VirtioDeviceConfig& config, TimerQueue& timers) {
  return {.device = std::make_unique<VirtioRng>(timers, config.entropy_limit)};
}

MadeVirtioDevice make_console(const VirtioDeviceConfig& config, TimerQueue&) {
  std::vector<ConsolePortConfig> ports = config.ports;
  if (ports.empty()) ports.push_back({.name = "console", .is_console = true});
  auto device = std::make_unique<VirtioConsole>(std::move(ports));
  VirtioConsole* console = device.get();
  return {.device = std::move(device), .console = console};
}

MadeVirtioDevice make_balloon(const VirtioDeviceConfig& config, TimerQueue&) {
  auto device = std::make_unique<VirtioBalloon>(config.balloon);
  VirtioBalloon* balloon = device.get();
  return {.device = std::move(device), .balloon = balloon};
}

constexpr std::array kRows = {
    VirtioDeviceRow{"rng", make_rng},
    VirtioDeviceRow{"console", make_console},
    VirtioDeviceRow{"balloon", make_balloon},
};

}  // namespace

std::span<const VirtioDeviceRow> virtio_device_rows() { return kRows; }

const VirtioDeviceRow* find_virtio_device(std::string_view name) {
  const auto* row = std::ranges::find(kRows, name, &VirtioDeviceRow::name);
  return row == kRows.end() ? nullptr : row;
}

}  // namespace doppel
