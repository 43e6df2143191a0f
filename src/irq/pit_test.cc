// The 8254: modes, latches, gates and the interrupt; port 61h.
#include "irq/pit.h"

#include "irq/test_support.h"

namespace doppel {
namespace {

using namespace irq_test;

class PitTest : public testing::Test {
 protected:
  // The first nanosecond of input clock tick `tick`.
  static Nanoseconds at_tick(u64 tick) {
    return Nanoseconds(static_cast<i64>((u128{tick} * 1'000'000'000 + Pit::kHertz - 1) / Pit::kHertz));
  }
  void go(u64 tick) { inputs.run_until(timers, at_tick(tick)); }
  void program(u8 channel, u8 control, u16 count) {
    write8(pit, 3, (channel << 6) | control);
    write8(pit, channel, count & 0xff);
    write8(pit, channel, count >> 8);
  }
  u16 count(u8 channel) {
    write8(pit, 3, channel << 6);
    const u8 low = read8(pit, channel);
    return static_cast<u16>(read8(pit, channel) << 8 | low);
  }
  u8 status(u8 channel) {
    write8(pit, 3, 0xe0 | (2u << channel));
    return read8(pit, channel);
  }

  void port_gate(bool is_high) { write8(port, 0, is_high ? 1 : 0); }

  FakeInputs inputs;
  TimerQueue timers{inputs};
  FakeLine line;
  Pit pit{timers, line};
  SystemControlPort port{timers, pit};
};

TEST_F(PitTest, Mode0RaisesAfterTheCountAndStaysHigh) {
  program(0, 0x30, 100);
  EXPECT_FALSE(line.is_high);
  go(100);
  EXPECT_FALSE(line.is_high);
  go(101);
  EXPECT_TRUE(line.is_high);
  go(100'000);
  EXPECT_EQ(line.rises, 1);
}

TEST_F(PitTest, Mode0CountsOnThroughZero) {
  program(0, 0x30, 100);
  go(101);
  EXPECT_EQ(count(0), 0);
  go(102);
  EXPECT_EQ(count(0), 0xffff);
}

TEST_F(PitTest, Mode2TicksWithoutDrift) {
  program(0, 0x34, 11932);  // 100 Hz and a bit
  line.rises = 0;
  inputs.run_until(timers, Nanoseconds(10'000'000'000));
  EXPECT_EQ(line.rises, 999);  // 11931820 ticks / 11932
}

TEST_F(PitTest, Mode2CountsFromNDownToOne) {
  program(0, 0x34, 1000);
  go(1);
  EXPECT_EQ(count(0), 1000);
  go(1000);
  EXPECT_EQ(count(0), 1);
  go(1001);
  EXPECT_EQ(count(0), 1000);
}

TEST_F(PitTest, Mode2LateServiceMergesTicksOnTheGrid) {
  program(0, 0x34, 1000);
  line.rises = 0;
  inputs.set_now(at_tick(5501));
  timers.run_expired(inputs.now());
  EXPECT_EQ(line.rises, 1);
  EXPECT_EQ(timers.next_deadline(), at_tick(6001));
}

TEST_F(PitTest, TickDueBeforeAWriteIsNotLost) {
  program(0, 0x34, 1000);
  line.rises = 0;
  inputs.set_now(at_tick(1001));
  write8(pit, 3, 0x00);
  EXPECT_EQ(line.rises, 1);
}

TEST_F(PitTest, TinyPeriodDoesNotFloodTheQueue) {
  program(0, 0x34, 1);
  go(3);
  EXPECT_GE(timers.next_deadline(), at_tick(15));
}

TEST_F(PitTest, Mode3IsASquareWaveCountingByTwo) {
  program(0, 0x36, 1000);
  go(1);
  EXPECT_EQ(status(0) & 0x80, 0x80);
  EXPECT_EQ(count(0), 1000);
  go(101);
  EXPECT_EQ(count(0), 800);
  go(501);
  EXPECT_EQ(status(0) & 0x80, 0);
  EXPECT_EQ(count(0), 1000);
  go(1001);
  EXPECT_EQ(status(0) & 0x80, 0x80);
}

TEST_F(PitTest, NewPeriodicCountWaitsForTheCycleToEnd) {
  program(0, 0x34, 1000);
  go(3501);
  write8(pit, 0, 500 & 0xff);
  write8(pit, 0, 500 >> 8);
  EXPECT_EQ(status(0) & 0x40, 0x40);
  go(4000);
  EXPECT_EQ(count(0), 1);
  go(4001);
  EXPECT_EQ(count(0), 500);
  EXPECT_EQ(status(0) & 0x40, 0);
}

TEST_F(PitTest, Mode4StrobesOnce) {
  port_gate(true);
  program(2, 0x38, 100);
  go(100);
  EXPECT_EQ(read8(port, 0) & 0x20, 0x20);
  go(101);
  EXPECT_EQ(read8(port, 0) & 0x20, 0);
  go(102);
  EXPECT_EQ(read8(port, 0) & 0x20, 0x20);
}

TEST_F(PitTest, LatchHoldsUntilRead) {
  program(0, 0x34, 1000);
  go(101);
  write8(pit, 3, 0x00);
  go(201);
  write8(pit, 3, 0x00);
  EXPECT_EQ(read8(pit, 0), 900 & 0xff);
  EXPECT_EQ(read8(pit, 0), 900 >> 8);
  EXPECT_EQ(count(0), 800);
}

TEST_F(PitTest, ReadBackGivesStatusThenCount) {
  program(0, 0x34, 1000);
  go(101);
  write8(pit, 3, 0xc2);
  EXPECT_EQ(read8(pit, 0), 0xb4);
  EXPECT_EQ(read8(pit, 0), 900 & 0xff);
  EXPECT_EQ(read8(pit, 0), 900 >> 8);
}

TEST_F(PitTest, SingleByteAccessModes) {
  write8(pit, 3, 0x14);  // low byte only
  write8(pit, 0, 200);
  go(1);
  EXPECT_EQ(read8(pit, 0), 200);
  EXPECT_EQ(read8(pit, 0), 200);
  write8(pit, 3, 0x24);  // high byte only
  write8(pit, 0, 2);
  go(2);
  EXPECT_EQ(read8(pit, 0), 2);
}

TEST_F(PitTest, BcdCountsInDecimal) {
  program(0, 0x35, 0x1000);
  go(2);
  EXPECT_EQ(count(0), 0x0999);
}

TEST_F(PitTest, ControlPortReadsAsOnes) { EXPECT_EQ(read8(pit, 3), 0xff); }

TEST_F(PitTest, GateStopsChannelTwoInMode0) {
  port_gate(true);
  program(2, 0x30, 1000);
  go(101);
  port_gate(false);
  go(500);
  EXPECT_EQ(count(2), 900);
  EXPECT_EQ(read8(port, 0) & 0x20, 0);
  port_gate(true);
  go(1399);
  EXPECT_EQ(read8(port, 0) & 0x20, 0);
  go(1400);
  EXPECT_EQ(read8(port, 0) & 0x20, 0x20);
}

TEST_F(PitTest, GateTriggersTheOneShot) {
  program(2, 0x32, 100);
  go(500);
  EXPECT_EQ(read8(port, 0) & 0x20, 0x20);
  port_gate(true);
  go(501);
  EXPECT_EQ(read8(port, 0) & 0x20, 0);
  go(601);
  EXPECT_EQ(read8(port, 0) & 0x20, 0x20);
}

TEST_F(PitTest, RefreshBitToggles) {
  const u8 before = read8(port, 0) & 0x10;
  inputs.advance(timers, Nanoseconds(15'085));
  EXPECT_NE(read8(port, 0) & 0x10, before);
}

TEST_F(PitTest, ControlBitsReadBack) {
  write8(port, 0, 0xff);
  EXPECT_EQ(read8(port, 0) & 0x0f, 0x0f);
  write8(port, 0, 0);
  EXPECT_EQ(read8(port, 0) & 0x0f, 0);
}

TEST_F(PitTest, StateSurvivesSaveAndLoad) {
  program(0, 0x34, 1000);
  go(101);
  write8(pit, 3, 0x00);
  read8(pit, 0);
  const std::vector<u8> state = save(pit);
  FakeLine other_line;
  Pit other(timers, other_line);
  ASSERT_TRUE(load(other, state));
  EXPECT_EQ(save(other), state);
  EXPECT_EQ(read8(other, 0), 900 >> 8);
  go(1001);
  EXPECT_EQ(other_line.rises, 1);
}

}  // namespace
}  // namespace doppel
