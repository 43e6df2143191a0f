// ACPI fixed hardware: timer, events and the SCI, sleeping.
#include "devices/acpi_pm.h"

#include <gtest/gtest.h>

#include "devices/device_fakes.h"

namespace doppel {
namespace {

using namespace std::chrono_literals;

constexpr u64 kStatus = 0, kEnable = 2, kControl = 4, kTimer = 8, kGpe = 0x20,
              kSmi = AcpiPm::kSmiCommandOffset;

class AcpiPmDevice : public testing::Test {
 protected:
  u64 in(u64 offset, std::size_t size = 2) { return read_from(pm_, offset, size); }
  void out(u64 offset, u64 value, std::size_t size = 2) { write_to(pm_, offset, value, size); }
  void enable_acpi() { out(kSmi, kSmiCommandAcpiEnable, 1); }

  FakeInputs inputs_;
  TimerQueue timers_{inputs_};
  FakeLine sci_;
  FakeMachine machine_;
  AcpiPm pm_{timers_, sci_, machine_};
};

TEST_F(AcpiPmDevice, TimerCountsItsFrequency) {
  EXPECT_EQ(in(kTimer, 4), 0u);
  inputs_.set_now(1s);
  EXPECT_EQ(in(kTimer, 4), 3579545u);
  inputs_.set_now(100s);
  EXPECT_EQ(in(kTimer, 4), 357954500u);
}

TEST_F(AcpiPmDevice, TimerWrapsAt32Bits) {
  inputs_.set_now(1200s);
  EXPECT_EQ(in(kTimer, 4), 4295454000u - 4294967296u);
}

TEST_F(AcpiPmDevice, TimerIgnoresWrites) {
  inputs_.set_now(1s);
  out(kTimer, 0, 4);
  EXPECT_EQ(in(kTimer, 4), 3579545u);
}

TEST_F(AcpiPmDevice, TimerStatusFollowsTheTopBit) {
  inputs_.set_now(599s);
  EXPECT_EQ(in(kStatus), 0u);
  inputs_.set_now(600s);
  EXPECT_EQ(in(kStatus), 1u);
  out(kStatus, 1);
  EXPECT_EQ(in(kStatus), 0u);
}

TEST_F(AcpiPmDevice, TimerInterruptsWhenEnabled) {
  enable_acpi();
  out(kEnable, 1);
  inputs_.advance(timers_, 599s);
  EXPECT_FALSE(sci_.is_high());
  inputs_.advance(timers_, 1s);
  EXPECT_TRUE(sci_.is_high());
  out(kStatus, 1);
  EXPECT_FALSE(sci_.is_high());
  inputs_.advance(timers_, 600s);
  EXPECT_TRUE(sci_.is_high());
}

TEST_F(AcpiPmDevice, SmiCommandSwitchesAcpiMode) {
  EXPECT_EQ(in(kControl), 0u);
  enable_acpi();
  EXPECT_EQ(in(kControl), 1u);
  out(kSmi, kSmiCommandAcpiDisable, 1);
  EXPECT_EQ(in(kControl), 0u);
}

TEST_F(AcpiPmDevice, ControlWritesLeaveSciEnableAlone) {
  enable_acpi();
  out(kControl, 0);
  EXPECT_EQ(in(kControl), 1u);
}

TEST_F(AcpiPmDevice, PowerButtonInterruptsUntilCleared) {
  enable_acpi();
  out(kEnable, 0x100);
  pm_.press_power_button();
  EXPECT_TRUE(sci_.is_high());
  EXPECT_EQ(in(kStatus), 0x100u);
  out(kStatus, 0x100);
  EXPECT_FALSE(sci_.is_high());
  EXPECT_EQ(in(kStatus), 0u);
}

TEST_F(AcpiPmDevice, PowerButtonIsSilentInLegacyMode) {
  out(kEnable, 0x100);
  pm_.press_power_button();
  EXPECT_FALSE(sci_.is_high());
  enable_acpi();
  EXPECT_TRUE(sci_.is_high());
}

TEST_F(AcpiPmDevice, GeneralEventInterruptsUntilCleared) {
  enable_acpi();
  out(kGpe, 0);
  pm_.raise_general_event(5);
  EXPECT_FALSE(sci_.is_high());
  out(kGpe + 2, 1 << 5);
  EXPECT_TRUE(sci_.is_high());
  EXPECT_EQ(in(kGpe), 1u << 5);
  out(kGpe, 1 << 5);
  EXPECT_FALSE(sci_.is_high());
}

TEST_F(AcpiPmDevice, SleepTypeFivePowersOff) {
  out(kControl, (5 << 10) | (1 << 13));
  EXPECT_EQ(machine_.reason(), StopReason::kPowerOff);
  EXPECT_EQ(machine_.status(), 0);
}

TEST_F(AcpiPmDevice, SleepTypeAloneDoesNothing) {
  out(kControl, 5 << 10);
  EXPECT_EQ(machine_.reason(), std::nullopt);
  EXPECT_EQ(in(kControl), 5u << 10);
}

TEST_F(AcpiPmDevice, OtherSleepTypesDoNotExist) {
  out(kControl, (1 << 10) | (1 << 13));
  EXPECT_EQ(machine_.reason(), std::nullopt);
}

TEST_F(AcpiPmDevice, UnimplementedEventsStayZero) {
  out(kEnable, 0xffff);
  EXPECT_EQ(in(kEnable), 0x521u);
}

TEST_F(AcpiPmDevice, GeneralPurposeEnablesAreKept) {
  out(kGpe + 2, 0xbeef);
  EXPECT_EQ(in(kGpe + 2), 0xbeefu);
  EXPECT_EQ(in(kGpe), 0u);
}

}  // namespace
}  // namespace doppel
