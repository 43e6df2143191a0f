// I/O APIC: registers, edges, levels and end of interrupt.
#include "irq/io_apic.h"

#include "irq/apic_bus.h"
#include "irq/test_support.h"

namespace doppel {
namespace {

using namespace irq_test;

constexpr u32 kLevelEntry = 0x8055;
constexpr u32 kMaskedBit = 0x10000;

class IoApicTest : public testing::Test {
 protected:
  void SetUp() override { write32(lapic, kApicSpurious, 0x1ff); }
  u32 get(u8 index) {
    write32(io_apic, 0x00, index);
    return read32(io_apic, 0x10);
  }
  void set(u8 index, u32 value) {
    write32(io_apic, 0x00, index);
    write32(io_apic, 0x10, value);
  }
  bool take(u8 vector) { return lapic.acknowledge() == vector; }

  FakeInputs inputs;
  TimerQueue timers{inputs};
  FakeCpu cpu{inputs};
  ApicBus bus;
  LocalApic lapic{0, bus, timers, cpu};
  IoApic io_apic{bus};
};

TEST_F(IoApicTest, IdentifiesItself) {
  EXPECT_EQ(get(1), 0x00170020u);
  set(0, 0xff000000);
  EXPECT_EQ(get(0), 0x0f000000u);
  EXPECT_EQ(get(2), 0x0f000000u);
}

TEST_F(IoApicTest, EntriesStartMaskedAndKeepWritableBitsOnly) {
  EXPECT_EQ(get(0x10), kMaskedBit);
  set(0x10, 0xffffffff);
  EXPECT_EQ(get(0x10), 0x0001afffu);
  set(0x11, 0xffffffff);
  EXPECT_EQ(get(0x11), 0xfffe0000u);
}

TEST_F(IoApicTest, RegistersBeyondTheLastPinReadZero) {
  set(0x40, 0x55);
  EXPECT_EQ(get(0x40), 0u);
  EXPECT_EQ(get(0x0f), 0u);
}

TEST_F(IoApicTest, EdgeSendsOncePerRise) {
  set(0x12, 0x51);
  io_apic.pin(1).set_level(true);
  io_apic.pin(1).set_level(true);
  EXPECT_TRUE(take(0x51));
  lapic.eoi();
  EXPECT_FALSE(lapic.has_interrupt());
  io_apic.pin(1).set_level(false);
  io_apic.pin(1).set_level(true);
  EXPECT_TRUE(take(0x51));
}

TEST_F(IoApicTest, EdgeOnAMaskedPinIsLost) {
  io_apic.pin(1).set_level(true);
  set(0x12, 0x51);
  EXPECT_FALSE(lapic.has_interrupt());
}

TEST_F(IoApicTest, LevelStaysInServiceUntilEoiAndFiresAgain) {
  set(0x12, kLevelEntry);
  io_apic.pin(1).set_level(true);
  EXPECT_EQ(get(0x12), 0xc055u);
  EXPECT_TRUE(take(0x55));
  io_apic.pin(1).set_level(false);
  io_apic.pin(1).set_level(true);
  EXPECT_FALSE(lapic.has_interrupt());
  lapic.eoi();
  EXPECT_TRUE(take(0x55));
  io_apic.pin(1).set_level(false);
  lapic.eoi();
  EXPECT_FALSE(lapic.has_interrupt());
  EXPECT_EQ(get(0x12), kLevelEntry);
}

TEST_F(IoApicTest, UnmaskingAnAssertedLevelSends) {
  set(0x12, kLevelEntry | kMaskedBit);
  io_apic.pin(1).set_level(true);
  EXPECT_FALSE(lapic.has_interrupt());
  set(0x12, kLevelEntry);
  EXPECT_TRUE(take(0x55));
}

TEST_F(IoApicTest, LevelNobodyAcceptedIsTriedAgain) {
  set(0x13, 0x07000000);
  set(0x12, kLevelEntry);
  io_apic.pin(1).set_level(true);
  EXPECT_EQ(get(0x12), kLevelEntry);
  set(0x13, 0);
  EXPECT_TRUE(take(0x55));
}

TEST_F(IoApicTest, EoiRegisterEndsLikeABroadcast) {
  set(0x12, kLevelEntry);
  io_apic.pin(1).set_level(true);
  io_apic.pin(1).set_level(false);
  write32(io_apic, 0x40, 0x54);
  EXPECT_EQ(get(0x12), 0xc055u);
  write32(io_apic, 0x40, 0x55);
  EXPECT_EQ(get(0x12), kLevelEntry);
}

TEST_F(IoApicTest, SwitchingToEdgeClearsRemoteIrr) {
  set(0x12, kLevelEntry);
  io_apic.pin(1).set_level(true);
  set(0x12, 0x10055);
  EXPECT_EQ(get(0x12), 0x10055u);
}

TEST_F(IoApicTest, NmiModeReachesTheCpu) {
  set(0x12, 0x400);
  io_apic.pin(1).pulse();
  EXPECT_EQ(cpu.nmis, 1);
}

TEST_F(IoApicTest, StateSurvivesSaveAndLoad) {
  set(0x12, kLevelEntry);
  io_apic.pin(1).set_level(true);
  const std::vector<u8> state = save(io_apic);
  IoApic other(bus);
  ASSERT_TRUE(load(other, state));
  EXPECT_EQ(save(other), state);
  write32(other, 0x00, 0x12);
  EXPECT_EQ(read32(other, 0x10), 0xc055u);
}

TEST_F(IoApicTest, CountsWhatItsPinsAskedFor) {
  set(0x10 + 2 * 4, 0x30);
  io_apic.pin(4).pulse();
  io_apic.pin(4).pulse();
  io_apic.pin(5).pulse();  // masked
  MetricList list;
  io_apic.add_metrics(list);
  ASSERT_EQ(list.all().size(), 1u);
  EXPECT_EQ(list.all()[0].labels, (std::vector<MetricLabel>{{"source", "pin 4"}}));
  EXPECT_EQ(list.all()[0].value, 2u);
}

}  // namespace
}  // namespace doppel
