// Local APIC: mode transitions and the x2APIC register space.
#include "irq/apic_bus.h"
#include "irq/io_apic.h"
#include "irq/lapic.h"
#include "irq/test_support.h"
#include "x86/msr.h"

namespace doppel {
namespace {

using namespace irq_test;

constexpr u64 kDisabled = 0xfee00000;
constexpr u64 kXApic = 0xfee00800;
constexpr u64 kX2Apic = 0xfee00c00;

class LapicMsr : public testing::Test {
 protected:
  bool set_base(u64 value) { return apic.write_msr(x86::kMsrApicBase, value); }

  FakeInputs inputs;
  TimerQueue timers{inputs};
  FakeCpu cpu{inputs};
  ApicBus bus;
  LocalApic apic{0x123, bus, timers, cpu};
};

TEST_F(LapicMsr, LegalTransitionsAreTaken) {
  EXPECT_TRUE(set_base(kX2Apic));
  EXPECT_TRUE(set_base(kX2Apic));
  EXPECT_TRUE(set_base(kDisabled));
  EXPECT_TRUE(set_base(kXApic));
  EXPECT_TRUE(set_base(kDisabled));
  EXPECT_EQ(apic.read_msr(x86::kMsrApicBase), kDisabled);
}

TEST_F(LapicMsr, IllegalTransitionsAreRefused) {
  EXPECT_FALSE(set_base(kDisabled | x86::kApicBaseX2Apic));
  EXPECT_TRUE(set_base(kX2Apic));
  EXPECT_FALSE(set_base(kXApic));
  EXPECT_TRUE(set_base(kDisabled));
  EXPECT_FALSE(set_base(kX2Apic));
  EXPECT_EQ(apic.apic_base(), kDisabled);
}

TEST_F(LapicMsr, ReservedBaseBitsAreRefused) {
  EXPECT_FALSE(set_base(kXApic | 0x200));
  EXPECT_FALSE(set_base(kXApic | 1));
  EXPECT_FALSE(set_base(kXApic | (u64{1} << 52)));
  EXPECT_TRUE(set_base(kXApic | x86::kApicBaseBsp));
}

TEST_F(LapicMsr, DisablingLosesTheRegisters) {
  write32(apic, kApicSpurious, 0x1ff);
  EXPECT_TRUE(set_base(kDisabled));
  EXPECT_TRUE(set_base(kXApic));
  EXPECT_EQ(read32(apic, kApicSpurious), 0xffu);
}

TEST_F(LapicMsr, X2ApicMsrsFaultOutsideX2ApicMode) {
  EXPECT_EQ(apic.read_msr(0x802), std::nullopt);
  EXPECT_FALSE(apic.write_msr(0x80b, 0));
}

TEST_F(LapicMsr, X2ApicHasFullIdAndDerivedLogicalId) {
  EXPECT_TRUE(set_base(kX2Apic));
  EXPECT_EQ(apic.read_msr(0x802), 0x123u);
  EXPECT_EQ(apic.read_msr(0x80d), 0x120008u);
  EXPECT_EQ(read32(apic, kApicId), 0xffffffffu);
}

TEST_F(LapicMsr, XApicIdIsTheLowByteInTheTopByte) { EXPECT_EQ(read32(apic, kApicId), 0x23000000u); }

TEST_F(LapicMsr, ReadOnlyX2ApicRegistersRefuseWrites) {
  EXPECT_TRUE(set_base(kX2Apic));
  EXPECT_FALSE(apic.write_msr(0x802, 0x123));
  EXPECT_FALSE(apic.write_msr(0x803, 0));
  EXPECT_FALSE(apic.write_msr(0x80a, 0));
  EXPECT_FALSE(apic.write_msr(0x80d, 0));
  EXPECT_FALSE(apic.write_msr(0x810, 0));
  EXPECT_FALSE(apic.write_msr(0x827, 0));
  EXPECT_FALSE(apic.write_msr(0x839, 0));
}

TEST_F(LapicMsr, WriteOnlyAndAbsentX2ApicRegistersRefuseReads) {
  EXPECT_TRUE(set_base(kX2Apic));
  EXPECT_EQ(apic.read_msr(0x80b), std::nullopt);
  EXPECT_EQ(apic.read_msr(0x83f), std::nullopt);
  EXPECT_EQ(apic.read_msr(0x809), std::nullopt);
  EXPECT_EQ(apic.read_msr(0x80c), std::nullopt);
  EXPECT_EQ(apic.read_msr(0x80e), std::nullopt);
  EXPECT_EQ(apic.read_msr(0x831), std::nullopt);
  EXPECT_EQ(apic.read_msr(0x82f), std::nullopt);
  EXPECT_EQ(apic.read_msr(0x800), std::nullopt);
  EXPECT_EQ(apic.read_msr(0x8ff), std::nullopt);
}

TEST_F(LapicMsr, ReservedX2ApicBitsAreRefused) {
  EXPECT_TRUE(set_base(kX2Apic));
  EXPECT_FALSE(apic.write_msr(0x808, 0x100));
  EXPECT_FALSE(apic.write_msr(0x808, u64{1} << 32));
  EXPECT_FALSE(apic.write_msr(0x80b, 1));
  EXPECT_FALSE(apic.write_msr(0x80f, 0x1000));
  EXPECT_FALSE(apic.write_msr(0x828, 1));
  EXPECT_FALSE(apic.write_msr(0x830, 1u << 20));
  EXPECT_FALSE(apic.write_msr(0x832, 0x100));
  EXPECT_FALSE(apic.write_msr(0x83e, 4));
  EXPECT_FALSE(apic.write_msr(0x83f, 0x100));
}

TEST_F(LapicMsr, SelfIpiRequestsItsVector) {
  EXPECT_TRUE(set_base(kX2Apic));
  EXPECT_TRUE(apic.write_msr(0x80f, 0x1ff));
  EXPECT_TRUE(apic.write_msr(0x83f, 0x77));
  EXPECT_EQ(apic.read_msr(0x823), 1u << 23);
  EXPECT_EQ(apic.acknowledge(), 0x77);
  EXPECT_TRUE(apic.write_msr(0x80b, 0));
  EXPECT_FALSE(apic.read_msr(0x813).value() != 0);
}

TEST_F(LapicMsr, InterruptCommandIsOneRegister) {
  EXPECT_TRUE(set_base(kX2Apic));
  EXPECT_TRUE(apic.write_msr(0x80f, 0x1ff));
  EXPECT_TRUE(apic.write_msr(0x830, (u64{0x123} << 32) | 0x5081));
  EXPECT_EQ(apic.acknowledge(), 0x81);
  EXPECT_EQ(apic.read_msr(0x830), (u64{0x123} << 32) | 0x4081);
}

TEST_F(LapicMsr, OtherMsrsAreNotItsOwn) {
  EXPECT_EQ(apic.read_msr(0x10), std::nullopt);
  EXPECT_FALSE(apic.write_msr(0x900, 0));
}

TEST_F(LapicMsr, StateOfADisabledX2ApicIsRejected) {
  std::vector<u8> state = save(apic);
  const std::array<u8, 8> base = {0x00, 0x08, 0xe0, 0xfe, 0, 0, 0, 0};
  const auto found = std::ranges::search(state, base);
  ASSERT_FALSE(found.empty());
  found[1] = 0x04;
  EXPECT_FALSE(load(apic, state));
}

}  // namespace
}  // namespace doppel
