// The virtio devices that need nothing from the host but time, one row each.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "devices/virtio_balloon.h"
#include "devices/virtio_console.h"
#include "devices/virtio_rng.h"

namespace doppel {

// What the kinds can be told; each reads its own part.
struct VirtioDeviceConfig {
  RateLimit entropy_limit;               // rng: bytes
  std::vector<ConsolePortConfig> ports;  // console: none means one console port without output
  BalloonConfig balloon;
};

// A device fresh from its maker. The plain pointers are views of `device`.
struct MadeVirtioDevice {
  std::unique_ptr<VirtioDevice> device;
  VirtioConsole* console = nullptr;
  VirtioBalloon* balloon = nullptr;
};

struct VirtioDeviceRow {
  std::string_view name;
  MadeVirtioDevice (*make)(const VirtioDeviceConfig& config, TimerQueue& timers);
};

std::span<const VirtioDeviceRow> virtio_device_rows();
// Null when there is no such kind.
const VirtioDeviceRow* find_virtio_device(std::string_view name);

}  // namespace doppel
