// The table of devices. A new device adds its include, its ranges and one row.
#include "devices/registry.h"

#include <array>

#include "devices/acpi_pm.h"
#include "devices/debug_exit.h"
#include "devices/i8042.h"
#include "devices/panic_port.h"
#include "devices/port_map.h"
#include "devices/post_code.h"
#include "devices/reset_control.h"
#include "devices/system_control_a.h"
#include "devices/uart16550.h"

namespace doppel {

namespace {

constexpr DeviceRange at(PortRange ports, u64 device_offset = 0) {
  return {BusKind::kPort, ports.base, ports.size, device_offset};
}

constexpr std::array kUartRanges = {at(kCom1Ports)};
constexpr std::array kKeyboardRanges = {at(kKeyboardDataPort, I8042::kDataOffset),
                                        at(kKeyboardCommandPort, I8042::kCommandOffset)};
constexpr std::array kPostCodeRanges = {at(kPostCodePort)};
constexpr std::array kSystemControlARanges = {at(kSystemControlAPort)};
constexpr std::array kDebugExitRanges = {at(kDebugExitPorts)};
constexpr std::array kPanicRanges = {at(kPanicPort)};
constexpr std::array kAcpiPmRanges = {at(kAcpiPmPorts), at(kSmiCommandPorts, AcpiPm::kSmiCommandOffset)};
constexpr std::array kResetControlRanges = {at(kPciConfigAddressPorts)};

constexpr std::array<u8, 1> kUartIrqs = {kIrqCom1};
constexpr std::array<u8, 2> kKeyboardIrqs = {kIrqKeyboard, kIrqMouse};
constexpr std::array<u8, 1> kAcpiPmIrqs = {kIrqSci};

template <class Device>
MadeDevice plain(std::unique_ptr<Device> device) {
  BusDevice* bus_device = device.get();
  return {.component = std::move(device), .bus_device = bus_device};
}

MadeDevice make_uart(const DeviceEnvironment& environment) {
  auto uart =
      std::make_unique<Uart16550>(environment.timers, environment.isa_irq(kIrqCom1), environment.console);
  ConsoleInput* input = uart.get();
  MadeDevice made = plain(std::move(uart));
  made.console_input = input;
  return made;
}

MadeDevice make_acpi_pm(const DeviceEnvironment& environment) {
  auto pm = std::make_unique<AcpiPm>(environment.timers, environment.isa_irq(kIrqSci), environment.machine);
  AcpiPm* view = pm.get();
  MadeDevice made = plain(std::move(pm));
  made.power_button = view;
  made.general_events = view;
  return made;
}

MadeDevice make_i8042(const DeviceEnvironment& environment) {
  return plain(std::make_unique<I8042>(environment.isa_irq(kIrqKeyboard), environment.isa_irq(kIrqMouse),
                                       environment.machine));
}

MadeDevice make_reset_control(const DeviceEnvironment& environment) {
  return plain(std::make_unique<ResetControl>(environment.machine, environment.pci_config_address));
}

MadeDevice make_post_code(const DeviceEnvironment&) { return plain(std::make_unique<PostCode>()); }

// For devices that need nothing but the machine's stop button.
template <class Device>
MadeDevice make_with_machine(const DeviceEnvironment& environment) {
  return plain(std::make_unique<Device>(environment.machine));
}

constexpr auto kRows = std::to_array<DeviceRow>({
    {"uart16550", kUartRanges, kUartIrqs, make_uart},
    {"i8042", kKeyboardRanges, kKeyboardIrqs, make_i8042},
    {"acpi_pm", kAcpiPmRanges, kAcpiPmIrqs, make_acpi_pm},
    {"reset_control", kResetControlRanges, {}, make_reset_control},
    {"system_control_a", kSystemControlARanges, {}, make_with_machine<SystemControlA>},
    {"post_code", kPostCodeRanges, {}, make_post_code},
    {"debug_exit", kDebugExitRanges, {}, make_with_machine<DebugExit>},
    {"panic_port", kPanicRanges, {}, make_with_machine<PanicPort>},
});

// Lets a device with several ranges see each at an offset of its own. Owned by DeviceParts.
class OffsetWindow final : public BusDevice {
 public:
  OffsetWindow(BusDevice& device, u64 offset) : device_(device), offset_(offset) {}
  void read(u64 offset, std::span<u8> data) override { device_.read(offset_ + offset, data); }
  void write(u64 offset, std::span<const u8> data) override { device_.write(offset_ + offset, data); }

 private:
  BusDevice& device_;
  u64 offset_;
};

}  // namespace

std::span<const DeviceRow> device_rows() { return kRows; }

DeviceParts make_device(const DeviceRow& row, const DeviceEnvironment& environment) {
  MadeDevice made = row.make(environment);
  DeviceParts parts{.name = row.name,
                    .component = std::move(made.component),
                    .windows = {},
                    .ranges = {},
                    .console_input = made.console_input,
                    .power_button = made.power_button,
                    .general_events = made.general_events};
  for (const DeviceRange& range : row.ranges) {
    BusDevice* device = made.bus_device;
    if (range.device_offset != 0) {
      parts.windows.push_back(std::make_unique<OffsetWindow>(*device, range.device_offset));
      device = parts.windows.back().get();
    }
    parts.ranges.push_back({range.bus, range.base, range.size, device});
  }
  return parts;
}

std::vector<DeviceParts> make_devices(const DeviceEnvironment& environment) {
  std::vector<DeviceParts> devices;
  for (const DeviceRow& row : kRows) devices.push_back(make_device(row, environment));
  return devices;
}

}  // namespace doppel
