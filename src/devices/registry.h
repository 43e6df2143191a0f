// The machine's simple devices, one row each: where they sit and how they are made.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/timer_queue.h"
#include "bus/bus_device.h"
#include "devices/console.h"
#include "devices/general_events.h"
#include "devices/machine_control.h"
#include "devices/power_button.h"
#include "state/state_visitor.h"

namespace doppel {

// What a device may need from the machine around it. Everything referred to outlives the devices.
struct DeviceEnvironment {
  TimerQueue& timers;
  MachineControl& machine;
  CharacterSink& console;
  // The interrupt line of an ISA interrupt (0..15).
  std::function<InterruptLine&(unsigned)> isa_irq;
  // Gets accesses to ports 0xcf8..0xcfb that do not concern the reset register; may be null.
  BusDevice* pci_config_address = nullptr;
};

enum class BusKind : u8 { kPort, kMemory };

// One range a device answers in. `device_offset` is what the device sees for the range's first byte, so that
// a device with several ranges can tell them apart.
struct DeviceRange {
  BusKind bus;
  u64 base;
  u64 size;
  u64 device_offset = 0;
};

// A device fresh from its maker. The plain pointers are views of `component`.
struct MadeDevice {
  std::unique_ptr<Component> component;
  BusDevice* bus_device;
  ConsoleInput* console_input = nullptr;
  PowerButton* power_button = nullptr;
  GeneralEvents* general_events = nullptr;
};

// One kind of device. `irqs` are for the reader and for conflict checks; the maker asks for the lines itself.
struct DeviceRow {
  std::string_view name;
  std::span<const DeviceRange> ranges;
  std::span<const u8> irqs;
  MadeDevice (*make)(const DeviceEnvironment& environment);
};

std::span<const DeviceRow> device_rows();

// A range ready for AddressMap::add(); `device` sees offsets from its own start.
struct MappedRange {
  BusKind bus;
  u64 base;
  u64 size;
  BusDevice* device;
};

// A device of one machine with everything needed to plug it in. Owned by the machine.
struct DeviceParts {
  std::string_view name;
  std::unique_ptr<Component> component;
  std::vector<std::unique_ptr<BusDevice>> windows;  // adapters for ranges with a device_offset
  std::vector<MappedRange> ranges;
  ConsoleInput* console_input;  // null unless the device takes console input
  PowerButton* power_button;    // null unless the device has one
  GeneralEvents* general_events;
};

DeviceParts make_device(const DeviceRow& row, const DeviceEnvironment& environment);

// Every row, in order.
std::vector<DeviceParts> make_devices(const DeviceEnvironment& environment);

}  // namespace doppel
