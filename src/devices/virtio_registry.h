// The machine's virtio devices, one row each: the command-line option and what makes the device from it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/event_loop.h"
#include "base/input_points.h"
#include "base/option_list.h"
#include "base/timer_queue.h"
#include "devices/console.h"
#include "memory/guest_memory.h"
#include "virtio/virtio_device.h"

namespace doppel {

class VirtioBalloon;
class VirtioConsole;

// What a virtio device may need from the machine around it. Everything referred to outlives the devices.
struct VirtioEnvironment {
  GuestMemory& memory;
  TimerQueue& timers;
  EventLoop* loop = nullptr;  // null with the instruction clock: back ends complete before they return
  InputPoints* input_points = nullptr;  // with the instruction clock: for what is recorded or replayed
  CharacterSink* terminal = nullptr;    // what the user sees; null: nobody looks
};

enum class VirtioTransport : u8 { kPci, kMmio };

// Where a device is plugged in, from the keys that every virtio option has.
struct VirtioPlacement {
  VirtioTransport transport = VirtioTransport::kPci;
  bool offers_packed = false;  // the packed ring, beside the split one
};

// `transport=pci|mmio` and `ring=split|packed`; an option adds these keys to its own.
inline constexpr OptionKey kTransportKey{"transport"};
inline constexpr OptionKey kRingKey{"ring"};
Result<VirtioPlacement> parse_placement(const OptionList& options);

// A device fresh from its maker. The plain pointers are views of `device`.
struct MadeVirtioDevice {
  std::unique_ptr<VirtioDevice> device;
  VirtioPlacement placement;
  std::string id;  // as the user named it; empty: no name. Unique among the machine's devices
  ConsoleInput* console_input = nullptr;  // takes the terminal's input instead of the serial port
  VirtioBalloon* balloon = nullptr;
  VirtioConsole* terminal_console = nullptr;  // hears of the terminal's size
};

// One kind of virtio device. `make` gets the option's value and opens what stands behind the device; its
// errors are one line for the user.
struct VirtioRow {
  std::string_view option;  // "--disk"
  std::string_view help;    // what the value looks like and does
  Result<MadeVirtioDevice> (*make)(std::string_view value, const VirtioEnvironment& environment);
  // Makes one device from all values of the option; null: each value is a device.
  Result<MadeVirtioDevice> (*make_of_all)(std::span<const std::string> values,
                                          const VirtioEnvironment& environment) = nullptr;
};

std::span<const VirtioRow> virtio_rows();

}  // namespace doppel
