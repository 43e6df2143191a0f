// Destinations, shorthands, lowest priority and MSIs.
#include "irq/apic_bus.h"

#include "irq/io_apic.h"
#include "irq/test_support.h"
#include "x86/msr.h"

namespace doppel {
namespace {

using namespace irq_test;

class ApicBusTest : public testing::Test {
 protected:
  void SetUp() override {
    write32(first, kApicSpurious, 0x1ff);
    write32(second, kApicSpurious, 0x1ff);
    write32(third, kApicSpurious, 0x1ff);
  }
  void enter_x2apic(LocalApic& apic) { ASSERT_TRUE(apic.write_msr(x86::kMsrApicBase, 0xfee00c00)); }
  // Which APICs have an interrupt: bit n for APIC n. Takes them.
  unsigned taken() {
    unsigned mask = 0;
    if (first.acknowledge()) mask |= 1;
    if (second.acknowledge()) mask |= 2;
    if (third.acknowledge()) mask |= 4;
    first.eoi();
    second.eoi();
    third.eoi();
    return mask;
  }
  unsigned deliver(u32 destination, bool is_logical) {
    bus.deliver({.destination = destination, .is_logical = is_logical, .vector = 0x55});
    return taken();
  }
  unsigned send(u32 low, u32 high = 0) {
    write32(first, kApicCommandHigh, high);
    write32(first, kApicCommandLow, low);
    return taken();
  }

  FakeInputs inputs;
  TimerQueue timers{inputs};
  FakeCpu cpu0{inputs}, cpu1{inputs}, cpu2{inputs};
  ApicBus bus;
  LocalApic first{0, bus, timers, cpu0};
  LocalApic second{1, bus, timers, cpu1};
  LocalApic third{2, bus, timers, cpu2};
};

TEST_F(ApicBusTest, PhysicalDestinationIsOneApicOrAll) {
  EXPECT_EQ(deliver(1, false), 2u);
  EXPECT_EQ(deliver(0xff, false), 7u);
  EXPECT_EQ(deliver(0xffffffff, false), 7u);
  EXPECT_EQ(deliver(3, false), 0u);
  EXPECT_FALSE(bus.deliver({.destination = 3, .vector = 0x55}));
}

TEST_F(ApicBusTest, FlatLogicalDestinationIsABitMask) {
  write32(first, kApicLogicalDestination, 0x01000000);
  write32(second, kApicLogicalDestination, 0x02000000);
  write32(third, kApicLogicalDestination, 0x04000000);
  EXPECT_EQ(deliver(0x05, true), 5u);
  EXPECT_EQ(deliver(0x08, true), 0u);
}

TEST_F(ApicBusTest, ClusterLogicalDestinationIsClusterAndMask) {
  write32(first, kApicDestinationFormat, 0x0fffffff);
  write32(second, kApicDestinationFormat, 0x0fffffff);
  write32(third, kApicDestinationFormat, 0x0fffffff);
  write32(first, kApicLogicalDestination, 0x11000000);
  write32(second, kApicLogicalDestination, 0x12000000);
  write32(third, kApicLogicalDestination, 0x21000000);
  EXPECT_EQ(deliver(0x13, true), 3u);
  EXPECT_EQ(deliver(0x21, true), 4u);
  EXPECT_EQ(deliver(0xf1, true), 5u);
}

TEST_F(ApicBusTest, X2ApicLogicalDestinationIsClusterAndMask) {
  enter_x2apic(first);
  enter_x2apic(second);
  enter_x2apic(third);
  EXPECT_EQ(deliver(0x00000006, true), 6u);
  EXPECT_EQ(deliver(0x00010006, true), 0u);
  EXPECT_EQ(deliver(0xffffffff, true), 7u);
  EXPECT_EQ(deliver(0xff, false), 0u);
}

TEST_F(ApicBusTest, ShorthandsChooseSelfAllAndOthers) {
  EXPECT_EQ(send(0x44055), 1u);
  EXPECT_EQ(send(0x84055), 7u);
  EXPECT_EQ(send(0xc4055), 6u);
  EXPECT_EQ(send(0x4055, 0x02000000), 4u);
}

TEST_F(ApicBusTest, InitAndStartUpReachTheOthers) {
  send(0xc4500);
  send(0xc469f);
  EXPECT_EQ(cpu0.inits, 0);
  EXPECT_EQ(cpu1.inits, 1);
  EXPECT_EQ(cpu2.start_ups, std::vector<u8>{0x9f});
}

TEST_F(ApicBusTest, NmiByShorthandToSelfIsNotSent) {
  send(0x44400);
  send(0x84400);
  EXPECT_EQ(cpu0.nmis, 0);
  send(0x4400, 0);
  EXPECT_EQ(cpu0.nmis, 1);
}

TEST_F(ApicBusTest, LowestPriorityGoesToTheLeastBusyEnabledApic) {
  write32(first, kApicTaskPriority, 0x40);
  write32(second, kApicSpurious, 0xff);
  write32(third, kApicTaskPriority, 0x20);
  bus.deliver({.destination = 0xff, .mode = DeliveryMode::kLowestPriority, .vector = 0x55});
  EXPECT_EQ(taken(), 4u);
}

TEST_F(ApicBusTest, MsiAddressAndDataAreDecoded) {
  const std::optional<InterruptMessage> message = decode_msi(0xfee02024, 0x4041);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->destination, 0x102u);
  EXPECT_TRUE(message->is_logical);
  EXPECT_EQ(message->vector, 0x41);
  EXPECT_EQ(message->mode, DeliveryMode::kFixed);
  EXPECT_FALSE(message->is_level);
}

TEST_F(ApicBusTest, MsiToFfIsABroadcast) {
  EXPECT_EQ(decode_msi(0xfeeff000, 0x41)->destination, 0xffffffffu);
  EXPECT_EQ(decode_msi(0xfed00000, 0x41), std::nullopt);
}

}  // namespace
}  // namespace doppel
