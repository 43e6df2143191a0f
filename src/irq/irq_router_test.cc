// Where ISA interrupts arrive.
#include "irq/irq_router.h"

#include "irq/apic_bus.h"
#include "irq/test_support.h"

namespace doppel {
namespace {

using namespace irq_test;

class IrqRouterTest : public testing::Test {
 protected:
  void SetUp() override {
    write32(lapic, kApicSpurious, 0x1ff);
    write8(pic.master_ports(), 0, 0x13);
    write8(pic.master_ports(), 1, 0x20);
    write8(pic.master_ports(), 1, 0x01);
  }
  void route(u8 pin, u8 vector) {
    write32(io_apic, 0x00, 0x10 + 2u * pin);
    write32(io_apic, 0x10, vector);
  }

  FakeInputs inputs;
  TimerQueue timers{inputs};
  FakeCpu cpu{inputs};
  ApicBus bus;
  LocalApic lapic{0, bus, timers, cpu};
  IoApic io_apic{bus};
  FakeLine output;
  PicPair pic{output};
  IrqRouter router{pic, io_apic};
};

TEST_F(IrqRouterTest, TimerArrivesAtPicLineZeroAndIoApicPinTwo) {
  route(0, 0x50);
  route(2, 0x52);
  router.isa(0).pulse();
  EXPECT_EQ(pic.acknowledge(), 0x20);
  EXPECT_EQ(lapic.acknowledge(), 0x52);
  lapic.eoi();
  EXPECT_FALSE(lapic.has_interrupt());
}

TEST_F(IrqRouterTest, OthersArriveAtTheSameNumber) {
  route(4, 0x54);
  router.isa(4).pulse();
  EXPECT_EQ(pic.acknowledge(), 0x24);
  EXPECT_EQ(lapic.acknowledge(), 0x54);
}

TEST_F(IrqRouterTest, LinesAbove15HaveOnlyTheIoApic) {
  route(20, 0x60);
  router.isa(20).pulse();
  EXPECT_FALSE(output.is_high);
  EXPECT_EQ(lapic.acknowledge(), 0x60);
}

}  // namespace
}  // namespace doppel
