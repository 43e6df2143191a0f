// Local APIC: priorities, acceptance, EOI, pins, errors and registers.
#include "irq/lapic.h"

#include "irq/apic_bus.h"
#include "irq/io_apic.h"
#include "irq/test_support.h"
#include "x86/msr.h"

namespace doppel {
namespace {

using namespace irq_test;

class Lapic : public testing::Test {
 protected:
  void SetUp() override { write32(apic, kApicSpurious, 0x1ff); }

  bool deliver(u8 vector, bool is_level = false) {
    return bus.deliver({.destination = 0, .vector = vector, .is_level = is_level});
  }
  u32 errors() {
    write32(apic, kApicErrorStatus, 0);
    return read32(apic, kApicErrorStatus);
  }

  FakeInputs inputs;
  TimerQueue timers{inputs};
  FakeCpu cpu{inputs};
  ApicBus bus;
  LocalApic apic{0, bus, timers, cpu};
  FakeExternalSource pic;
};

TEST_F(Lapic, ResetStateIsThatOfTheManual) {
  apic.reset();
  EXPECT_EQ(apic.apic_base(), 0xfee00900u);
  EXPECT_EQ(read32(apic, kApicSpurious), 0xffu);
  EXPECT_EQ(read32(apic, kApicLvtTimer), 0x10000u);
  EXPECT_EQ(read32(apic, kApicLvtLint0), 0x10000u);
  EXPECT_EQ(read32(apic, kApicDestinationFormat), 0xffffffffu);
  EXPECT_EQ(read32(apic, kApicVersion), 0x50014u);
}

TEST_F(Lapic, AcceptedVectorIsRequestedThenInServiceThenGone) {
  EXPECT_TRUE(deliver(0x41));
  EXPECT_EQ(read32(apic, kApicRequest + 0x20), 2u);
  EXPECT_TRUE(apic.has_interrupt());
  EXPECT_EQ(apic.acknowledge(), 0x41);
  EXPECT_EQ(read32(apic, kApicRequest + 0x20), 0u);
  EXPECT_EQ(read32(apic, kApicInService + 0x20), 2u);
  EXPECT_FALSE(apic.has_interrupt());
  write32(apic, kApicEoi, 0);
  EXPECT_EQ(read32(apic, kApicInService + 0x20), 0u);
}

TEST_F(Lapic, AReturnedVectorIsGivenAgainOnceBeforeAllOthers) {
  deliver(0x41);
  EXPECT_EQ(apic.acknowledge(), 0x41);
  cpu.changes = 0;
  apic.return_acknowledged(0x41);
  EXPECT_EQ(cpu.changes, 1);
  deliver(0x81);
  apic.set_task_priority(15);
  LocalApic copy(0, bus, timers, cpu);
  ASSERT_TRUE(load(copy, save(apic)));
  EXPECT_TRUE(copy.has_interrupt());
  EXPECT_EQ(copy.acknowledge(), 0x41);
  EXPECT_FALSE(copy.has_interrupt());
  EXPECT_EQ(read32(copy, kApicInService + 0x20), 2u);
}

TEST_F(Lapic, HigherClassInterruptsServiceAndSameClassWaits) {
  deliver(0x51);
  EXPECT_EQ(apic.acknowledge(), 0x51);
  deliver(0x5f);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(apic.acknowledge(), std::nullopt);
  deliver(0x60);
  EXPECT_EQ(apic.acknowledge(), 0x60);
  EXPECT_EQ(read32(apic, kApicProcessorPriority), 0x60u);
  apic.eoi();
  EXPECT_FALSE(apic.has_interrupt());
  apic.eoi();
  EXPECT_EQ(apic.acknowledge(), 0x5f);
}

TEST_F(Lapic, TaskPriorityHoldsBackItsClassAndBelow) {
  deliver(0x8f);
  apic.set_task_priority(8);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(read32(apic, kApicTaskPriority), 0x80u);
  cpu.changes = 0;
  apic.set_task_priority(7);
  EXPECT_TRUE(apic.has_interrupt());
  EXPECT_EQ(cpu.changes, 1);
  write32(apic, kApicTaskPriority, 0x9c);
  EXPECT_EQ(apic.task_priority(), 9);
  EXPECT_EQ(read32(apic, kApicProcessorPriority), 0x9cu);
}

TEST_F(Lapic, SoftwareDisabledApicRefusesFixedAndTakesNmi) {
  write32(apic, kApicSpurious, 0xff);
  EXPECT_FALSE(deliver(0x41));
  EXPECT_TRUE(bus.deliver({.destination = 0, .mode = DeliveryMode::kNmi}));
  EXPECT_EQ(cpu.nmis, 1);
}

TEST_F(Lapic, SoftwareDisableMasksEveryLvtEntryForGood) {
  write32(apic, kApicLvtTimer, 0x31);
  write32(apic, kApicSpurious, 0xff);
  EXPECT_EQ(read32(apic, kApicLvtTimer), 0x10031u);
  write32(apic, kApicLvtTimer, 0x31);
  EXPECT_EQ(read32(apic, kApicLvtTimer), 0x10031u);
}

TEST_F(Lapic, IllegalVectorIsReportedInTheErrorRegister) {
  EXPECT_FALSE(deliver(0x0f));
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(errors(), kErrorReceiveIllegalVector);
  EXPECT_EQ(errors(), 0u);
}

TEST_F(Lapic, ErrorRaisesItsLvtEntry) {
  write32(apic, kApicLvtError, 0xfe);
  write32(apic, kApicCommandLow, 0x4000a);
  EXPECT_EQ(apic.acknowledge(), 0xfe);
  EXPECT_EQ(errors(), kErrorSendIllegalVector);
}

TEST_F(Lapic, IllegalVectorInTheErrorEntryEnds) {
  write32(apic, kApicLvtError, 0x05);
  EXPECT_EQ(read32(apic, 0x400), 0u);
  EXPECT_EQ(errors(), kErrorIllegalRegister | kErrorReceiveIllegalVector);
}

TEST_F(Lapic, OnlyAlignedDoublewordsReachRegisters) {
  write(apic, kApicTaskPriority, 1, 0x50);
  write(apic, kApicTaskPriority, 8, 0x50);
  write32(apic, kApicTaskPriority + 4, 0x50);
  EXPECT_EQ(apic.task_priority(), 0);
  EXPECT_EQ(read(apic, kApicVersion, 2), 0u);
  EXPECT_EQ(read(apic, kApicVersion, 8), 0u);
}

TEST_F(Lapic, MaskedLintDoesNothing) {
  apic.set_lint(1, true);
  EXPECT_EQ(cpu.nmis, 0);
}

TEST_F(Lapic, VirtualWireTakesExtIntFromThePicAndNmiFromLint1) {
  apic.reset();
  apic.configure_virtual_wire();
  apic.set_external_source(&pic);
  apic.set_task_priority(15);
  apic.lint(0).set_level(true);
  EXPECT_TRUE(apic.has_interrupt());
  EXPECT_EQ(apic.acknowledge(), 0x30);
  EXPECT_EQ(pic.acknowledged, 1);
  apic.lint(0).set_level(false);
  EXPECT_FALSE(apic.has_interrupt());
  apic.lint(1).pulse();
  EXPECT_EQ(cpu.nmis, 1);
}

TEST_F(Lapic, MaskingLint0HidesThePic) {
  apic.configure_virtual_wire();
  apic.set_external_source(&pic);
  apic.set_lint(0, true);
  write32(apic, kApicLvtLint0, 0x10700);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(apic.acknowledge(), std::nullopt);
}

TEST_F(Lapic, DisabledApicConnectsThePinsDirectly) {
  apic.set_external_source(&pic);
  EXPECT_TRUE(apic.write_msr(x86::kMsrApicBase, 0xfee00100));
  EXPECT_FALSE(deliver(0x41));
  apic.set_lint(0, true);
  EXPECT_TRUE(apic.has_interrupt());
  EXPECT_EQ(apic.acknowledge(), 0x30);
  apic.set_lint(1, true);
  EXPECT_EQ(cpu.nmis, 1);
  EXPECT_EQ(read32(apic, kApicVersion), 0xffffffffu);
}

TEST_F(Lapic, LevelTriggeredLint0FiresAgainAfterEoiWhileAsserted) {
  write32(apic, kApicLvtLint0, 0x8044);
  apic.set_lint(0, true);
  EXPECT_EQ(read32(apic, kApicLvtLint0), 0xc044u);
  EXPECT_EQ(apic.acknowledge(), 0x44);
  EXPECT_FALSE(apic.has_interrupt());
  apic.eoi();
  EXPECT_EQ(apic.acknowledge(), 0x44);
  apic.set_lint(0, false);
  apic.eoi();
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(read32(apic, kApicLvtLint0), 0x8044u);
}

TEST_F(Lapic, EdgeLint0FiresOncePerRise) {
  write32(apic, kApicLvtLint0, 0x44);
  apic.set_lint(0, true);
  apic.set_lint(0, true);
  EXPECT_EQ(apic.acknowledge(), 0x44);
  apic.eoi();
  EXPECT_FALSE(apic.has_interrupt());
}

TEST_F(Lapic, InitResetsEverythingButTheMode) {
  EXPECT_TRUE(apic.write_msr(x86::kMsrApicBase, 0xfee00d00));
  EXPECT_TRUE(apic.write_msr(0x808, 0x20));
  deliver(0x41);
  EXPECT_TRUE(bus.deliver({.destination = 0, .mode = DeliveryMode::kInit}));
  EXPECT_EQ(cpu.inits, 1);
  EXPECT_EQ(apic.task_priority(), 0);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(apic.apic_base(), 0xfee00d00u);
  EXPECT_EQ(apic.read_msr(0x80d), 1u);
}

TEST_F(Lapic, InitDeassertIsIgnored) {
  bus.deliver({.destination = 0, .mode = DeliveryMode::kInit, .is_level = true, .is_assert = false});
  EXPECT_EQ(cpu.inits, 0);
}

TEST_F(Lapic, EoiMayBeSkippedOnlyForALoneEdgeInterrupt) {
  EXPECT_FALSE(apic.can_skip_eoi());
  deliver(0x41);
  EXPECT_FALSE(apic.can_skip_eoi());
  apic.acknowledge();
  EXPECT_TRUE(apic.can_skip_eoi());
  deliver(0x31);
  EXPECT_FALSE(apic.can_skip_eoi());
  apic.eoi();
  apic.acknowledge();
  EXPECT_TRUE(apic.can_skip_eoi());
  apic.eoi();
  deliver(0x51, true);
  apic.acknowledge();
  EXPECT_FALSE(apic.can_skip_eoi());
}

TEST_F(Lapic, ExtIntMessageAsksThePicOnce) {
  apic.set_external_source(&pic);
  EXPECT_TRUE(bus.deliver({.destination = 0, .mode = DeliveryMode::kExtInt}));
  EXPECT_TRUE(apic.has_interrupt());
  EXPECT_EQ(apic.acknowledge(), 0x30);
  EXPECT_FALSE(apic.has_interrupt());
}

TEST_F(Lapic, StateSurvivesSaveAndLoad) {
  deliver(0x41);
  deliver(0x99, true);
  apic.acknowledge();
  write32(apic, kApicLvtTimer, 0x20033);
  write32(apic, kApicInitialCount, 50'000);
  const std::vector<u8> state = save(apic);
  FakeCpu other_cpu(inputs);
  ApicBus other_bus;
  LocalApic other(0, other_bus, timers, other_cpu);
  ASSERT_TRUE(load(other, state));
  EXPECT_EQ(save(other), state);
  other.eoi();
  EXPECT_EQ(other.acknowledge(), 0x41);
  other.eoi();
  inputs.advance(timers, Nanoseconds(100'000));
  EXPECT_EQ(other.acknowledge(), 0x33);
}

}  // namespace
}  // namespace doppel
