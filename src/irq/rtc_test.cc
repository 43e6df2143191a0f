// The real-time clock: formats, setting, flags and interrupts; CMOS sizes.
#include "irq/rtc.h"

#include "irq/test_support.h"

namespace doppel {
namespace {

using namespace irq_test;

constexpr u64 kLeapDay = 1709251199;  // Thursday 2024-02-29 23:59:59 UTC
constexpr i64 kMillisecond = 1'000'000;

class RtcTest : public testing::Test {
 protected:
  void SetUp() override { inputs.set_wall_clock(kLeapDay); }
  Rtc& rtc() {
    if (!clock) clock.emplace(timers, line, CmosMemorySize{.below_4g = 3 * kGiB, .above_4g = 5 * kGiB});
    return *clock;
  }
  u8 get(u8 index) {
    write8(rtc(), 0, index);
    return read8(rtc(), 1);
  }
  void set(u8 index, u8 value) {
    write8(rtc(), 0, index);
    write8(rtc(), 1, value);
  }
  void advance_ms(i64 milliseconds) { inputs.advance(timers, Nanoseconds(milliseconds * kMillisecond)); }

  FakeInputs inputs;
  TimerQueue timers{inputs};
  FakeLine line;
  std::optional<Rtc> clock;
};

TEST_F(RtcTest, ShowsTheWallClockInBcd) {
  EXPECT_EQ(get(0x00), 0x59);
  EXPECT_EQ(get(0x02), 0x59);
  EXPECT_EQ(get(0x04), 0x23);
  EXPECT_EQ(get(0x06), 5);
  EXPECT_EQ(get(0x07), 0x29);
  EXPECT_EQ(get(0x08), 0x02);
  EXPECT_EQ(get(0x09), 0x24);
  EXPECT_EQ(get(0x32), 0x20);
}

TEST_F(RtcTest, RollsOverLeapDayAtMidnight) {
  get(0);
  advance_ms(1000);
  EXPECT_EQ(get(0x00), 0x00);
  EXPECT_EQ(get(0x04), 0x00);
  EXPECT_EQ(get(0x06), 6);
  EXPECT_EQ(get(0x07), 0x01);
  EXPECT_EQ(get(0x08), 0x03);
}

TEST_F(RtcTest, BinaryAndTwelveHourFormats) {
  set(0x0b, 0x06);
  EXPECT_EQ(get(0x00), 59);
  EXPECT_EQ(get(0x04), 23);
  set(0x0b, 0x00);
  EXPECT_EQ(get(0x04), 0x91);
  set(0x0b, 0x04);
  advance_ms(1000);
  EXPECT_EQ(get(0x04), 12);
}

TEST_F(RtcTest, GuestSetsTheTimeWithTheClockStopped) {
  set(0x0b, 0x82);
  set(0x00, 0x30);
  set(0x02, 0x15);
  set(0x04, 0x08);
  set(0x07, 0x31);
  set(0x08, 0x12);
  set(0x09, 0x99);
  set(0x32, 0x19);
  set(0x06, 0x06);
  advance_ms(5000);
  EXPECT_EQ(get(0x00), 0x30);
  set(0x0b, 0x02);
  advance_ms(1000);
  EXPECT_EQ(get(0x00), 0x31);
  EXPECT_EQ(get(0x04), 0x08);
  EXPECT_EQ(get(0x06), 6);
  EXPECT_EQ(get(0x09), 0x99);
  advance_ms(16 * 3600 * 1000);
  EXPECT_EQ(get(0x09), 0x00);
  EXPECT_EQ(get(0x32), 0x20);
  EXPECT_EQ(get(0x06), 7);
}

TEST_F(RtcTest, WriteToARunningClockChangesOneField) {
  set(0x04, 0x05);
  EXPECT_EQ(get(0x04), 0x05);
  EXPECT_EQ(get(0x00), 0x59);
  EXPECT_EQ(get(0x07), 0x29);
}

TEST_F(RtcTest, NonsenseInTheRegistersIsHarmless) {
  set(0x0b, 0x82);
  set(0x00, 0xff);
  set(0x04, 0xff);
  set(0x07, 0xff);
  set(0x08, 0xff);
  set(0x09, 0xff);
  set(0x32, 0xff);
  set(0x06, 0xff);
  set(0x0b, 0x02);
  EXPECT_LE(get(0x08), 0x12);
}

TEST_F(RtcTest, UpdateInProgressAnnouncesTheChange) {
  EXPECT_EQ(get(0x0a), 0x26);
  advance_ms(997);
  EXPECT_EQ(get(0x0a), 0x26);
  advance_ms(2);
  EXPECT_EQ(get(0x0a), 0xa6);
  advance_ms(1);
  EXPECT_EQ(get(0x0a), 0x26);
  set(0x0b, 0x82);
  advance_ms(999);
  EXPECT_EQ(get(0x0a), 0x26);
}

TEST_F(RtcTest, LeavingDividerResetUpdatesHalfASecondLater) {
  set(0x0a, 0x76);
  advance_ms(300);
  set(0x0a, 0x26);
  advance_ms(499);
  EXPECT_EQ(get(0x00), 0x59);
  advance_ms(1);
  EXPECT_EQ(get(0x00), 0x00);
}

TEST_F(RtcTest, UpdateInterruptComesEverySecondOnceAcknowledged) {
  set(0x0b, 0x12);
  advance_ms(1000);
  EXPECT_TRUE(line.is_high);
  advance_ms(3000);
  EXPECT_EQ(line.rises, 1);
  EXPECT_EQ(get(0x0c) & 0x90, 0x90);
  EXPECT_FALSE(line.is_high);
  EXPECT_EQ(get(0x0c), 0x00);
  advance_ms(1000);
  EXPECT_EQ(line.rises, 2);
}

TEST_F(RtcTest, AlarmMatchesWithWildcards) {
  set(0x01, 0x05);
  set(0x03, 0xc0);
  set(0x05, 0xff);
  set(0x0b, 0x22);
  advance_ms(5000);
  EXPECT_FALSE(line.is_high);
  advance_ms(1000);
  EXPECT_TRUE(line.is_high);
  EXPECT_EQ(get(0x0c) & 0xa0, 0xa0);
}

TEST_F(RtcTest, AlarmFlagIsSetEvenWhenNobodyWaits) {
  set(0x01, 0x05);
  set(0x03, 0x00);
  set(0x05, 0x00);
  advance_ms(5000);
  EXPECT_EQ(get(0x0c) & 0x20, 0);
  advance_ms(1000);
  EXPECT_EQ(get(0x0c), 0x70);
  EXPECT_EQ(timers.next_deadline(), Timer::kNever);
}

TEST_F(RtcTest, PeriodicInterruptRunsAtItsRate) {
  set(0x0a, 0x26);  // 1024 Hz
  set(0x0b, 0x42);
  get(0x0c);
  inputs.advance(timers, Nanoseconds(976'562));
  EXPECT_FALSE(line.is_high);
  inputs.advance(timers, Nanoseconds(1));
  EXPECT_TRUE(line.is_high);
  EXPECT_EQ(get(0x0c), 0xc0);
}

TEST_F(RtcTest, SettingTheClockDisablesTheUpdateInterrupt) {
  set(0x0b, 0x92);
  EXPECT_EQ(get(0x0b), 0x82);
}

TEST_F(RtcTest, IndexPortKeepsTheNmiMaskAndReadsAsOnes) {
  write8(rtc(), 0, 0x8d);
  EXPECT_TRUE(rtc().is_nmi_masked());
  EXPECT_EQ(read8(rtc(), 1), 0x80);
  EXPECT_EQ(read8(rtc(), 0), 0xff);
  write8(rtc(), 0, 0x0d);
  EXPECT_FALSE(rtc().is_nmi_masked());
}

TEST_F(RtcTest, MemorySizesAreInCmos) {
  EXPECT_EQ(get(0x15) | get(0x16) << 8, 640);
  EXPECT_EQ(get(0x17) | get(0x18) << 8, 0xffff);
  EXPECT_EQ(get(0x30) | get(0x31) << 8, 0xffff);
  EXPECT_EQ(get(0x34) | get(0x35) << 8, (3072 - 16) * 16);
  EXPECT_EQ(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 5 * 1024 * 16);
}

TEST_F(RtcTest, CmosMemoryIsMemoryAndSurvivesReset) {
  set(0x7f, 0xa5);
  rtc().reset();
  EXPECT_EQ(get(0x7f), 0xa5);
}

TEST_F(RtcTest, StateSurvivesSaveAndLoad) {
  set(0x0b, 0x12);
  set(0x04, 0x07);
  advance_ms(1500);
  get(0x0c);
  const std::vector<u8> state = save(rtc());
  FakeLine other_line;
  Rtc other(timers, other_line, {});
  ASSERT_TRUE(load(other, state));
  EXPECT_EQ(save(other), state);
  advance_ms(500);
  EXPECT_TRUE(other_line.is_high);
  write8(other, 0, 0x04);
  EXPECT_EQ(read8(other, 1), 0x08);
}

TEST_F(RtcTest, ImpossibleStateIsRejected) {
  std::vector<u8> state = save(rtc());
  const std::array<u8, 8> seconds = {0x7f, 0x1a, 0xe1, 0x65, 0, 0, 0, 0};
  const auto found = std::ranges::search(state, seconds);
  ASSERT_FALSE(found.empty());
  found[7] = 0x7f;
  EXPECT_FALSE(load(rtc(), state));
}

}  // namespace
}  // namespace doppel
