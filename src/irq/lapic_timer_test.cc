// The local APIC timer in its three modes.
#include "irq/lapic_timer.h"

#include "irq/apic_bus.h"
#include "irq/io_apic.h"
#include "irq/test_support.h"
#include "x86/msr.h"

namespace doppel {
namespace {

using namespace irq_test;

constexpr u32 kPeriodicBit = 1u << 17;
constexpr u32 kDeadlineBit = 1u << 18;
constexpr u32 kDivideBy1 = 0xb;
constexpr u32 kDivideBy16 = 0x3;

class LapicTimerTest : public testing::Test {
 protected:
  void SetUp() override {
    write32(apic, kApicSpurious, 0x1ff);
    write32(apic, kApicDivide, kDivideBy1);
  }
  void advance(i64 nanoseconds) { inputs.advance(timers, Nanoseconds(nanoseconds)); }
  u32 count() { return read32(apic, kApicCurrentCount); }
  bool take() {
    const std::optional<u8> vector = apic.acknowledge();
    if (vector) apic.eoi();
    return vector == 0x40;
  }

  FakeInputs inputs;
  TimerQueue timers{inputs};
  FakeCpu cpu{inputs};
  ApicBus bus;
  LocalApic apic{0, bus, timers, cpu};
};

TEST_F(LapicTimerTest, OneShotFiresOnceAtItsCount) {
  write32(apic, kApicLvtTimer, 0x40);
  write32(apic, kApicInitialCount, 1000);
  advance(999);
  EXPECT_EQ(count(), 1u);
  EXPECT_FALSE(take());
  advance(1);
  EXPECT_TRUE(take());
  EXPECT_EQ(count(), 0u);
  advance(5000);
  EXPECT_FALSE(take());
}

TEST_F(LapicTimerTest, MaskedTimerCountsButDoesNotFire) {
  write32(apic, kApicLvtTimer, 0x10040);
  write32(apic, kApicInitialCount, 1000);
  advance(400);
  EXPECT_EQ(count(), 600u);
  advance(1000);
  EXPECT_FALSE(apic.has_interrupt());
}

TEST_F(LapicTimerTest, DividerSlowsTheCount) {
  write32(apic, kApicDivide, kDivideBy16);
  write32(apic, kApicLvtTimer, 0x40);
  write32(apic, kApicInitialCount, 100);
  advance(160);
  EXPECT_EQ(count(), 90u);
  advance(1439);
  EXPECT_FALSE(take());
  advance(1);
  EXPECT_TRUE(take());
}

TEST_F(LapicTimerTest, ChangingTheDividerKeepsTheCount) {
  write32(apic, kApicLvtTimer, 0x40);
  write32(apic, kApicInitialCount, 100);
  advance(60);
  write32(apic, kApicDivide, kDivideBy16);
  EXPECT_EQ(count(), 40u);
  advance(639);
  EXPECT_FALSE(take());
  advance(1);
  EXPECT_TRUE(take());
}

TEST_F(LapicTimerTest, PeriodicFiresOnItsGridEvenWhenServedLate) {
  write32(apic, kApicLvtTimer, kPeriodicBit | 0x40);
  write32(apic, kApicInitialCount, 100'000);
  advance(100'000);
  EXPECT_TRUE(take());
  inputs.set_now(Nanoseconds(430'000));
  timers.run_expired(inputs.now());
  EXPECT_TRUE(take());
  EXPECT_EQ(count(), 70'000u);
  advance(69'999);
  EXPECT_FALSE(take());
  advance(1);
  EXPECT_TRUE(take());
}

TEST_F(LapicTimerTest, TinyPeriodDoesNotFloodTheQueue) {
  write32(apic, kApicLvtTimer, kPeriodicBit | 0x40);
  write32(apic, kApicInitialCount, 1);
  advance(10'000);
  EXPECT_TRUE(take());
  EXPECT_GE(timers.next_deadline(), Nanoseconds(20'000));
}

TEST_F(LapicTimerTest, WritingZeroStops) {
  write32(apic, kApicLvtTimer, kPeriodicBit | 0x40);
  write32(apic, kApicInitialCount, 1000);
  write32(apic, kApicInitialCount, 0);
  EXPECT_EQ(timers.next_deadline(), Timer::kNever);
  EXPECT_EQ(count(), 0u);
}

TEST_F(LapicTimerTest, DeadlineFiresWhenTheTscReachesIt) {
  write32(apic, kApicLvtTimer, kDeadlineBit | 0x40);
  cpu.tsc_offset = 1000;
  EXPECT_TRUE(apic.write_msr(x86::kMsrTscDeadline, 1000 + 2'000'001));  // at 2 GHz: just over 1 ms
  EXPECT_EQ(apic.read_msr(x86::kMsrTscDeadline), 2'001'001u);
  advance(1'000'000);
  EXPECT_FALSE(take());
  advance(1);
  EXPECT_TRUE(take());
  EXPECT_EQ(apic.read_msr(x86::kMsrTscDeadline), 0u);
}

TEST_F(LapicTimerTest, PastDeadlineFiresAtOnce) {
  inputs.set_now(Nanoseconds(1000));
  write32(apic, kApicLvtTimer, kDeadlineBit | 0x40);
  EXPECT_TRUE(apic.write_msr(x86::kMsrTscDeadline, 5));
  EXPECT_TRUE(take());
}

TEST_F(LapicTimerTest, ZeroDeadlineDisarms) {
  write32(apic, kApicLvtTimer, kDeadlineBit | 0x40);
  apic.write_msr(x86::kMsrTscDeadline, 5000);
  apic.write_msr(x86::kMsrTscDeadline, 0);
  EXPECT_EQ(timers.next_deadline(), Timer::kNever);
}

TEST_F(LapicTimerTest, DeadlineFarAwayDoesNotOverflow) {
  write32(apic, kApicLvtTimer, kDeadlineBit | 0x40);
  apic.write_msr(x86::kMsrTscDeadline, ~u64{0});
  EXPECT_EQ(timers.next_deadline(), Nanoseconds(i64{1} << 59));
}

TEST_F(LapicTimerTest, DeadlineIsIgnoredInOtherModes) {
  write32(apic, kApicLvtTimer, 0x40);
  EXPECT_TRUE(apic.write_msr(x86::kMsrTscDeadline, 5000));
  EXPECT_EQ(apic.read_msr(x86::kMsrTscDeadline), 0u);
  EXPECT_EQ(timers.next_deadline(), Timer::kNever);
}

TEST_F(LapicTimerTest, LeavingDeadlineModeDisarms) {
  write32(apic, kApicLvtTimer, kDeadlineBit | 0x40);
  apic.write_msr(x86::kMsrTscDeadline, 5000);
  write32(apic, kApicLvtTimer, 0x40);
  EXPECT_EQ(timers.next_deadline(), Timer::kNever);
}

TEST_F(LapicTimerTest, MovingTheTscMovesTheDeadline) {
  write32(apic, kApicLvtTimer, kDeadlineBit | 0x40);
  apic.write_msr(x86::kMsrTscDeadline, 2'000'000);
  cpu.tsc_offset = 1'000'000;
  apic.tsc_changed();
  EXPECT_EQ(timers.next_deadline(), Nanoseconds(500'000));
}

}  // namespace
}  // namespace doppel
