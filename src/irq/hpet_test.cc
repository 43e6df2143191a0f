// The HPET: counter, one-shot and periodic timers, levels, legacy replacement, messages.
#include "irq/hpet.h"

#include <random>

#include "irq/test_support.h"

namespace doppel {
namespace {

using namespace irq_test;

constexpr u64 kConfig = 0x10;
constexpr u64 kStatus = 0x20;
constexpr u64 kCounter = 0xf0;
constexpr u64 kEnable = 1;
constexpr u64 kLegacy = 3;  // enabled as well
constexpr u64 kInterrupt = 1 << 2;
constexpr u64 kLevel = 1 << 1;
constexpr u64 kPeriodic = 1 << 3;
constexpr u64 kSetAccumulator = 1 << 6;
constexpr u64 kForce32Bits = 1 << 8;
constexpr u64 kRouted = 13 << 9;
constexpr u64 kMessages = 1 << 14;

constexpr u64 timer_config(unsigned index) { return 0x100 + 0x20 * index; }
constexpr u64 timer_comparator(unsigned index) { return 0x108 + 0x20 * index; }
constexpr u64 timer_message(unsigned index) { return 0x110 + 0x20 * index; }

// Remembers the last message. Owned by a test.
struct FakeMessages final : MsiSink {
  void send(u64 message_address, u32 message_data) override {
    address = message_address;
    data = message_data;
    ++count;
  }
  u64 address = 0;
  u32 data = 0;
  int count = 0;
};

class HpetTest : public testing::Test {
 protected:
  // Moves on to a value that a counter started at time 0 has.
  void go(u64 tick) { inputs.run_until(timers, Nanoseconds(static_cast<i64>(10 * tick))); }
  void set(u64 offset, u64 value) { write(hpet, offset, 8, value); }
  u64 get(u64 offset) { return read(hpet, offset, 8); }

  FakeInputs inputs;
  TimerQueue timers{inputs};
  FakeLine isa0;
  FakeLine isa8;
  FakeLine input;
  FakeMessages messages;
  Hpet hpet{timers, {isa0, isa8, input, messages}};
};

TEST_F(HpetTest, DescribesItself) {
  EXPECT_EQ(get(0), u64{10'000'000} << 32 | 0x8086a201);
  EXPECT_EQ(read32(hpet, 4), 10'000'000u);
  EXPECT_EQ(get(timer_config(2)), 0x0000200000008030u);
  EXPECT_EQ(get(timer_comparator(0)), ~u64{0});
  EXPECT_EQ(get(timer_config(3)), 0u);
}

TEST_F(HpetTest, CountsTenNanosecondTicksWhileEnabled) {
  go(100);
  EXPECT_EQ(get(kCounter), 0u);
  set(kConfig, kEnable);
  go(350);
  EXPECT_EQ(get(kCounter), 250u);
  set(kConfig, 0);
  go(1000);
  EXPECT_EQ(get(kCounter), 250u);
  set(kConfig, kEnable);
  go(1001);
  EXPECT_EQ(get(kCounter), 251u);
}

TEST_F(HpetTest, CounterIsWritableWhileHalted) {
  write32(hpet, kCounter + 4, 1);
  write32(hpet, kCounter, 5);
  set(kConfig, kEnable);
  set(kCounter, 0);
  go(10);
  EXPECT_EQ(get(kCounter), 0x10000000fu);
}

TEST_F(HpetTest, OneShotFiresOnce) {
  set(timer_config(0), kInterrupt | kRouted);
  set(timer_comparator(0), 100);
  set(kConfig, kEnable);
  go(99);
  EXPECT_EQ(input.rises, 0);
  go(100);
  EXPECT_EQ(input.rises, 1);
  EXPECT_FALSE(input.is_high);
  go(100'000);
  EXPECT_EQ(input.rises, 1);
}

TEST_F(HpetTest, MaskedTimerDoesNotFire) {
  set(timer_config(0), kRouted);
  set(timer_comparator(0), 100);
  set(kConfig, kEnable);
  go(1000);
  EXPECT_EQ(input.rises, 0);
  EXPECT_EQ(timers.next_deadline(), Timer::kNever);
}

TEST_F(HpetTest, ComparatorBehindTheCounterWaitsForTheWrap) {
  set(timer_config(0), kInterrupt | kRouted | kForce32Bits);
  set(kCounter, 0xfffffff0);
  set(kConfig, kEnable);
  set(timer_comparator(0), 0x10);
  go(0x1f);
  EXPECT_EQ(input.rises, 0);
  go(0x20);
  EXPECT_EQ(input.rises, 1);
}

TEST_F(HpetTest, PeriodicTimerKeepsItsPace) {
  set(kConfig, kEnable);
  set(timer_config(0), kInterrupt | kPeriodic | kSetAccumulator | kRouted);
  set(timer_comparator(0), 5000);
  set(timer_comparator(0), 2000);
  go(5000);
  EXPECT_EQ(input.rises, 1);
  EXPECT_EQ(get(timer_comparator(0)), 7000u);
  go(6999);
  EXPECT_EQ(input.rises, 1);
  go(11'000);
  EXPECT_EQ(input.rises, 4);
}

TEST_F(HpetTest, LatePeriodsAreMergedWithoutDrift) {
  set(kConfig, kEnable);
  set(timer_config(0), kInterrupt | kPeriodic | kSetAccumulator | kRouted);
  set(timer_comparator(0), 2000);
  inputs.set_now(Nanoseconds(10 * 9500));
  timers.run_expired(inputs.now());
  EXPECT_EQ(input.rises, 1);
  EXPECT_EQ(get(timer_comparator(0)), 12'000u);
}

TEST_F(HpetTest, TinyPeriodsAreSpaced) {
  set(kConfig, kEnable);
  set(timer_config(0), kInterrupt | kPeriodic | kSetAccumulator | kRouted);
  set(timer_comparator(0), 1);
  go(100'000);
  EXPECT_LE(input.rises, 101);
}

TEST_F(HpetTest, LevelStaysUntilItsStatusIsCleared) {
  set(timer_config(1), kInterrupt | kLevel | kRouted);
  set(timer_comparator(1), 10);
  set(kConfig, kEnable);
  go(20);
  EXPECT_TRUE(input.is_high);
  EXPECT_EQ(get(kStatus), 2u);
  set(kStatus, 1);
  EXPECT_TRUE(input.is_high);
  set(kStatus, 2);
  EXPECT_FALSE(input.is_high);
}

TEST_F(HpetTest, TimersMayShareALevel) {
  set(timer_config(0), kInterrupt | kLevel | kRouted);
  set(timer_config(1), kInterrupt | kLevel | kRouted);
  set(timer_comparator(0), 10);
  set(timer_comparator(1), 10);
  set(kConfig, kEnable);
  go(10);
  set(kStatus, 1);
  EXPECT_TRUE(input.is_high);
  set(kStatus, 2);
  EXPECT_FALSE(input.is_high);
}

TEST_F(HpetTest, LegacyReplacementTakesTheLinesOfPitAndRtc) {
  hpet.pit_input().set_level(true);
  EXPECT_TRUE(isa0.is_high);
  set(kConfig, kLegacy);
  EXPECT_FALSE(isa0.is_high);
  hpet.rtc_input().set_level(true);
  EXPECT_FALSE(isa8.is_high);
  set(timer_config(0), kInterrupt);
  set(timer_comparator(0), 100);
  set(timer_config(1), kInterrupt);
  set(timer_comparator(1), 200);
  go(150);
  EXPECT_EQ(isa0.rises, 2);
  EXPECT_EQ(isa8.rises, 0);
  go(200);
  EXPECT_EQ(isa8.rises, 1);
  set(kConfig, kEnable);
  EXPECT_TRUE(isa0.is_high);
  EXPECT_TRUE(isa8.is_high);
}

TEST_F(HpetTest, RoutesThatDoNotExistAreRefused) {
  set(timer_config(0), kInterrupt | kRouted);
  set(timer_config(0), kInterrupt | 3 << 9);
  EXPECT_EQ((get(timer_config(0)) >> 9) & 0x1f, 13u);
}

TEST_F(HpetTest, MessagesGoToTheirAddress) {
  set(timer_config(2), kInterrupt | kMessages | kRouted);
  set(timer_message(2), u64{0xfee01000} << 32 | 0x4042);
  set(timer_comparator(2), 30);
  set(kConfig, kEnable);
  go(30);
  EXPECT_EQ(messages.count, 1);
  EXPECT_EQ(messages.address, 0xfee01000u);
  EXPECT_EQ(messages.data, 0x4042u);
  EXPECT_EQ(input.rises, 0);
}

TEST_F(HpetTest, AccessSeesWhatIsDue) {
  set(timer_config(0), kInterrupt | kLevel | kRouted);
  set(timer_comparator(0), 10);
  set(kConfig, kEnable);
  inputs.set_now(Nanoseconds(1000));
  EXPECT_EQ(get(kStatus), 1u);
}

TEST_F(HpetTest, StateSurvivesARoundTrip) {
  set(kConfig, kLegacy);
  set(timer_config(0), kInterrupt | kPeriodic | kSetAccumulator);
  set(timer_comparator(0), 5000);
  hpet.rtc_input().set_level(true);
  go(6000);
  FakeLine line0;
  FakeLine line8;
  FakeLine line13;
  Hpet copy(timers, {line0, line8, line13, messages});
  ASSERT_TRUE(load(copy, save(hpet)));
  EXPECT_EQ(save(copy), save(hpet));
  go(10'000);
  EXPECT_EQ(line0.rises, 1);
  EXPECT_EQ(read(copy, kCounter, 8), 10'000u);
  write(copy, kConfig, 8, kEnable);
  EXPECT_TRUE(line8.is_high);
}

TEST_F(HpetTest, ResetForgetsEverything) {
  const std::vector<u8> made = save(hpet);
  set(kConfig, kLegacy);
  set(timer_config(0), kInterrupt | kLevel);
  set(timer_comparator(0), 50);
  go(60);
  EXPECT_TRUE(isa0.is_high);
  hpet.reset();
  EXPECT_EQ(save(hpet), made);
  EXPECT_FALSE(isa0.is_high);
}

TEST_F(HpetTest, SurvivesARandomGuest) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 50'000; ++i) {
    const unsigned size = 1u << random() % 4;
    const u64 offset = (random() % 2 == 0 ? random() % 0x3f9 : 0x100 + random() % 0x58) & ~u64{size - 1};
    write(hpet, offset, size, random() >> random() % 64);
    read(hpet, random() % 0x3f9, size);
    inputs.advance(timers, Nanoseconds(random() % 100'000));
  }
  std::vector<u8> state = save(hpet);
  for (int i = 0; i < 500; ++i) {
    state[random() % state.size()] = static_cast<u8>(random());
    load(hpet, state);
    read(hpet, kCounter, 8);
  }
}

}  // namespace
}  // namespace doppel
