// The 8259 pair: initialisation, priorities, EOI, polling and the cascade.
#include "irq/pic.h"

#include "irq/test_support.h"

namespace doppel {
namespace {

using namespace irq_test;

class Pic : public testing::Test {
 protected:
  void SetUp() override { initialise(0x01); }

  void initialise(u8 icw4) {
    write8(master, 0, 0x11);
    write8(master, 1, 0x20);
    write8(master, 1, 0x04);
    write8(master, 1, icw4);
    write8(slave, 0, 0x11);
    write8(slave, 1, 0x28);
    write8(slave, 1, 0x02);
    write8(slave, 1, 0x01);
  }
  void raise(unsigned line) { pic.line(line).set_level(true); }
  void lower(unsigned line) { pic.line(line).set_level(false); }
  u8 master_isr() {
    write8(master, 0, 0x0b);
    return read8(master, 0);
  }
  u8 master_irr() {
    write8(master, 0, 0x0a);
    return read8(master, 0);
  }

  FakeLine output;
  PicPair pic{output};
  BusDevice& master = pic.master_ports();
  BusDevice& slave = pic.slave_ports();
};

TEST_F(Pic, IsQuietBeforeInitialisation) {
  pic.reset();
  raise(0);
  EXPECT_FALSE(output.is_high);
  EXPECT_EQ(read8(master, 1), 0xff);
}

TEST_F(Pic, EdgeIsDeliveredOnce) {
  raise(3);
  EXPECT_TRUE(output.is_high);
  EXPECT_EQ(master_irr(), 0x08);
  EXPECT_EQ(pic.acknowledge(), 0x23);
  EXPECT_FALSE(output.is_high);
  EXPECT_EQ(master_isr(), 0x08);
  write8(master, 0, 0x20);
  EXPECT_EQ(master_isr(), 0);
  EXPECT_FALSE(output.is_high);
}

TEST_F(Pic, PulseStaysLatched) {
  pic.line(3).pulse();
  EXPECT_EQ(pic.acknowledge(), 0x23);
}

TEST_F(Pic, MaskedLineWaits) {
  write8(master, 1, 0x08);
  raise(3);
  EXPECT_FALSE(output.is_high);
  write8(master, 1, 0x00);
  EXPECT_EQ(pic.acknowledge(), 0x23);
}

TEST_F(Pic, LowerLineNumberInterruptsHigherInService) {
  raise(5);
  EXPECT_EQ(pic.acknowledge(), 0x25);
  raise(6);
  EXPECT_FALSE(output.is_high);
  raise(1);
  EXPECT_EQ(pic.acknowledge(), 0x21);
  write8(master, 0, 0x20);
  EXPECT_EQ(master_isr(), 0x20);
  write8(master, 0, 0x65);
  EXPECT_EQ(pic.acknowledge(), 0x26);
}

TEST_F(Pic, SlaveLineGoesThroughTheCascade) {
  raise(12);
  EXPECT_EQ(pic.acknowledge(), 0x2c);
  EXPECT_EQ(master_isr(), 0x04);
  write8(slave, 0, 0x20);
  write8(master, 0, 0x20);
  EXPECT_EQ(master_isr(), 0);
}

TEST_F(Pic, SecondSlaveRequestSurvivesTheFirst) {
  raise(12);
  raise(14);
  EXPECT_EQ(pic.acknowledge(), 0x2c);
  write8(slave, 0, 0x20);
  write8(master, 0, 0x20);
  EXPECT_TRUE(output.is_high);
  EXPECT_EQ(pic.acknowledge(), 0x2e);
}

TEST_F(Pic, SpeciallyFullyNestedMasterLetsTheSlaveNest) {
  initialise(0x11);
  raise(12);
  EXPECT_EQ(pic.acknowledge(), 0x2c);
  raise(8);
  EXPECT_EQ(pic.acknowledge(), 0x28);
}

TEST_F(Pic, VanishedRequestIsSpuriousLineSeven) {
  EXPECT_EQ(pic.acknowledge(), 0x27);
  EXPECT_EQ(master_isr(), 0);
}

TEST_F(Pic, AutomaticEoiLeavesNothingInService) {
  initialise(0x03);
  raise(3);
  EXPECT_EQ(pic.acknowledge(), 0x23);
  EXPECT_EQ(master_isr(), 0);
}

TEST_F(Pic, RotateOnEoiGivesTheLineLowestPriority) {
  raise(0);
  EXPECT_EQ(pic.acknowledge(), 0x20);
  write8(master, 0, 0xa0);
  lower(0);
  raise(0);
  raise(1);
  EXPECT_EQ(pic.acknowledge(), 0x21);
}

TEST_F(Pic, SetPriorityNamesTheLowestLine) {
  write8(master, 0, 0xc4);
  raise(4);
  raise(5);
  EXPECT_EQ(pic.acknowledge(), 0x25);
}

TEST_F(Pic, SpecialMaskModeIgnoresMaskedLinesInService) {
  raise(1);
  EXPECT_EQ(pic.acknowledge(), 0x21);
  write8(master, 1, 0x02);
  raise(5);
  EXPECT_FALSE(output.is_high);
  write8(master, 0, 0x68);
  EXPECT_TRUE(output.is_high);
  write8(master, 0, 0x48);
  EXPECT_FALSE(output.is_high);
}

TEST_F(Pic, PollAcknowledgesAndNamesTheLine) {
  raise(3);
  write8(master, 0, 0x0c);
  EXPECT_EQ(read8(master, 0), 0x83);
  EXPECT_EQ(master_isr(), 0x08);
  write8(master, 0, 0x0c);
  EXPECT_EQ(read8(master, 0), 0x00);
}

TEST_F(Pic, LevelLineRequestsUntilItFalls) {
  write8(pic.elcr_ports(), 0, 0xff);
  EXPECT_EQ(read8(pic.elcr_ports(), 0), 0xf8);
  raise(5);
  EXPECT_EQ(pic.acknowledge(), 0x25);
  write8(master, 0, 0x20);
  EXPECT_TRUE(output.is_high);
  lower(5);
  EXPECT_FALSE(output.is_high);
}

TEST_F(Pic, FirstCommandWordForgetsEdgesAndMasks) {
  write8(master, 1, 0xff);
  raise(3);
  initialise(0x01);
  EXPECT_EQ(read8(master, 1), 0);
  EXPECT_FALSE(output.is_high);
}

TEST_F(Pic, MapsItsPorts) {
  AddressMap ports;
  ASSERT_TRUE(pic.map(ports));
  const std::array<u8, 2> icw = {0x68, 0x5a};
  ports.write(0x20, icw);
  EXPECT_EQ(read8(master, 1), 0x5a);
}

TEST_F(Pic, StateSurvivesSaveAndLoad) {
  raise(12);
  raise(5);
  pic.acknowledge();
  write8(slave, 0, 0x11);
  const std::vector<u8> state = save(pic);
  FakeLine other_output;
  PicPair other(other_output);
  ASSERT_TRUE(load(other, state));
  EXPECT_EQ(save(other), state);
  write8(other.slave_ports(), 1, 0x70);
  write8(other.slave_ports(), 1, 0x02);
  write8(other.slave_ports(), 1, 0x01);
  other.line(8).pulse();
  write8(other.master_ports(), 0, 0x62);
  EXPECT_EQ(other.acknowledge(), 0x70);
}

}  // namespace
}  // namespace doppel
