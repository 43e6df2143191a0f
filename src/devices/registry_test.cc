// The registry's rows fit together and reach the devices they name.
#include "devices/registry.h"

#include <gtest/gtest.h>

#include "bus/address_map.h"
#include "devices/device_fakes.h"
#include "devices/port_map.h"

namespace doppel {
namespace {

class Registry : public testing::Test {
 protected:
  Registry() {
    for (DeviceParts& device : devices_) {
      for (const MappedRange& range : device.ranges) {
        EXPECT_EQ(range.bus, BusKind::kPort);
        EXPECT_TRUE(ports_.add(range.base, range.size, *range.device, std::string(device.name)));
      }
    }
  }
  u8 in(u16 port) {
    u8 value = 0;
    ports_.read(port, {&value, 1});
    return value;
  }
  void out(u16 port, u8 value) { ports_.write(port, {&value, 1}); }
  DeviceParts& find(std::string_view name) { return *std::ranges::find(devices_, name, &DeviceParts::name); }

  FakeInputs inputs_;
  TimerQueue timers_{inputs_};
  FakeMachine machine_;
  FakeSink console_;
  std::array<FakeLine, 16> lines_;
  DeviceEnvironment environment_{
      .timers = timers_,
      .machine = machine_,
      .console = console_,
      .isa_irq = [this](unsigned irq) -> InterruptLine& { return lines_[irq]; },
  };
  std::vector<DeviceParts> devices_ = make_devices(environment_);
  AddressMap ports_;
};

TEST_F(Registry, ReachesTheSerialPort) {
  out(0x3f8, 'x');
  EXPECT_EQ(console_.text(), "x");
}

TEST_F(Registry, ReachesBothKeyboardPorts) {
  out(0x64, 0xaa);
  EXPECT_EQ(in(0x64) & 1, 1);
  EXPECT_EQ(in(0x60), 0x55);
}

TEST_F(Registry, ReachesTheSmiCommandPort) {
  out(0xb2, kSmiCommandAcpiEnable);
  EXPECT_EQ(in(0x604), 1);
}

TEST_F(Registry, ReachesTheResetRegister) {
  out(0xcf9, 0x06);
  EXPECT_EQ(machine_.reason(), StopReason::kReset);
}

TEST_F(Registry, SerialPortInterruptsOnIrqFour) {
  out(0x3fc, 0x08);
  out(0x3f9, 0x02);
  EXPECT_TRUE(lines_[4].is_high());
}

TEST_F(Registry, ConsoleInputBelongsToTheSerialPort) {
  ASSERT_NE(find("uart16550").console_input, nullptr);
  EXPECT_TRUE(find("uart16550").console_input->receive(u8{'y'}));
  EXPECT_EQ(in(0x3f8), 'y');
}

TEST_F(Registry, PowerButtonInterruptsOnIrqNine) {
  out(0xb2, kSmiCommandAcpiEnable);
  out(0x603, 0x01);
  ASSERT_NE(find("acpi_pm").power_button, nullptr);
  find("acpi_pm").power_button->press_power_button();
  EXPECT_TRUE(lines_[9].is_high());
}

}  // namespace
}  // namespace doppel
