// Counting and timing exits.
#include "machine/exit_accounts.h"

#include <gtest/gtest.h>

#include "base/fake_inputs.h"

namespace doppel {
namespace {

constexpr Nanoseconds kLong{1000};

class ExitAccountsTest : public testing::Test {
 protected:
  void exit(ExitKind kind) {
    const ExitAccounts::Meter meter(accounts_, kind);
    inputs_.set_now(inputs_.now() + kLong);
  }
  u64 value(std::string_view metric, std::string_view reason) {
    MetricList list;
    accounts_.add_metrics(list);
    u64 sum = 0;
    for (const MetricList::Metric& one : list.all()) {
      if (one.kind.name == metric && one.labels.back().value == reason) sum += one.value;
    }
    return sum;
  }

  FakeInputs inputs_;
  ExitAccounts accounts_{inputs_};
};

TEST_F(ExitAccountsTest, CountsEveryExit) {
  for (int i = 0; i < 17; ++i) exit(ExitKind::kPortRead);
  EXPECT_EQ(value("exits", "port read"), 17u);
  EXPECT_EQ(value("exits", "port write"), 0u);
}

TEST_F(ExitAccountsTest, TimeOfOneExitStandsForSixteen) {
  exit(ExitKind::kMmioRead);
  EXPECT_EQ(value("exit_time", "MMIO read"), 16'000u);
  for (int i = 1; i < 16; ++i) exit(ExitKind::kMmioRead);
  EXPECT_EQ(value("exit_time", "MMIO read"), 16'000u);
}

// Every second exit takes three times as long.
TEST_F(ExitAccountsTest, SamplesDoNotFollowAPattern) {
  for (int i = 0; i < 16000; ++i) {
    exit(ExitKind::kPortRead);
    const ExitAccounts::Meter meter(accounts_, ExitKind::kPortRead);
    inputs_.set_now(inputs_.now() + 3 * kLong);
  }
  EXPECT_NEAR(static_cast<double>(value("exit_time", "port read")), 64e6, 4e6);
}

TEST_F(ExitAccountsTest, ExitsThatTurnOutToBeAnotherAreSampledToo) {
  for (int i = 0; i < 16000; ++i) {
    ExitAccounts::Meter meter(accounts_, ExitKind::kMmioRead);
    meter.change(ExitKind::kApicRead);
    inputs_.set_now(inputs_.now() + kLong);
  }
  EXPECT_EQ(value("exits", "APIC read"), 16000u);
  EXPECT_NEAR(static_cast<double>(value("exit_time", "APIC read")), 16e6, 1e5);
}

TEST_F(ExitAccountsTest, StoppedMeterTellsItsTime) {
  ExitAccounts::Meter meter(accounts_, ExitKind::kPortWrite);
  inputs_.set_now(inputs_.now() + kLong);
  EXPECT_TRUE(meter.is_timed());
  EXPECT_EQ(meter.stop(), 16 * kLong);
  inputs_.set_now(inputs_.now() + kLong);
  EXPECT_EQ(meter.stop(), Nanoseconds(0));
  EXPECT_EQ(value("exit_time", "port write"), 16'000u);
}

TEST_F(ExitAccountsTest, HaltsAreMeasuredExactly) {
  accounts_.add_halt(Nanoseconds(5));
  accounts_.add_halt(Nanoseconds(7));
  EXPECT_EQ(value("exits", "halt"), 2u);
  EXPECT_EQ(value("exit_time", "halt"), 12u);
}

TEST_F(ExitAccountsTest, ExitMayTurnOutToBeAnother) {
  {
    ExitAccounts::Meter meter(accounts_, ExitKind::kMmioRead);
    meter.change(ExitKind::kApicRead);
  }
  EXPECT_EQ(value("exits", "MMIO read"), 0u);
  EXPECT_EQ(value("exits", "APIC read"), 1u);
}

TEST_F(ExitAccountsTest, InterruptsAreCountedByVector) {
  accounts_.add_interrupt(236);
  accounts_.add_interrupt(236);
  EXPECT_EQ(value("interrupts", "236"), 2u);
}

}  // namespace
}  // namespace doppel
