// Configuration space as the PCI specification describes it: identity, sizing, masks, capabilities, INTx.
#include "bus/pci_function.h"

#include <gtest/gtest.h>

#include <random>

#include "bus/bus_fakes.h"

namespace doppel {
namespace {

using namespace bus_test;

constexpr PciIdentity kIdentity = {.vendor_id = 0x1af4,
                                   .device_id = 0x1042,
                                   .class_code = 0x018000,
                                   .revision = 1,
                                   .subsystem_vendor_id = 0x1234,
                                   .subsystem_id = 0x5678,
                                   .has_interrupt_pin = true};

// Counts what a function tells the handler of a capability. Owned by a test.
struct FakeCapability final : PciCapability {
  void before_read(u64 offset, u64 size) override { log += fmt::format("r{}+{} ", offset, size); }
  void written(u64 offset, u64 size) override { log += fmt::format("w{}+{} ", offset, size); }
  bool replaces_interrupt_pin() const override { return replaces; }
  std::string log;
  bool replaces = false;
};

// A function with one BAR of each kind, connected.
struct Bench {
  PciFunction function{kIdentity};
  FakeRegisters registers;
  FakeLine line;
  FakeMessages messages;
  int changes = 0;
  Bench() {
    function.add_bar(0, BarKind::kMemory32, 0x1000, registers);
    function.add_bar(1, BarKind::kIo, 0x20, registers);
    function.add_bar(2, BarKind::kMemory64Prefetchable, 0x4000, registers);
    function.add_bar(4, BarKind::kMemory64, u64{1} << 33, registers);
    function.connect({[this] { ++changes; }, &line, &messages});
  }
  u32 get(u64 offset, unsigned size = 4) { return static_cast<u32>(read_config(function, offset, size)); }
  void set(u64 offset, u64 value, unsigned size = 4) { write_config(function, offset, size, value); }
};

TEST(PciFunction, ShowsItsIdentity) {
  Bench bench;
  EXPECT_EQ(bench.get(0x00), 0x10421af4u);
  EXPECT_EQ(bench.get(0x08), 0x01800001u);
  EXPECT_EQ(bench.get(0x2c), 0x56781234u);
  EXPECT_EQ(bench.get(0x0e, 1), 0u);
  EXPECT_EQ(bench.get(0x3d, 1), 1u);
}

TEST(PciFunction, IdentityCannotBeWritten) {
  Bench bench;
  bench.set(0x00, 0xffffffff);
  bench.set(0x08, 0xffffffff);
  bench.set(0x2c, 0xffffffff);
  EXPECT_EQ(bench.get(0x00), 0x10421af4u);
  EXPECT_EQ(bench.get(0x08), 0x01800001u);
  EXPECT_EQ(bench.get(0x2c), 0x56781234u);
}

TEST(PciFunction, SizesBarsByWritingOnes) {
  Bench bench;
  for (u64 offset = 0x10; offset < 0x28; offset += 4) bench.set(offset, 0xffffffff);
  EXPECT_EQ(bench.get(0x10), 0xfffff000u);
  EXPECT_EQ(bench.get(0x14), 0xffffffe1u);
  EXPECT_EQ(bench.get(0x18), 0xffffc00cu);
  EXPECT_EQ(bench.get(0x1c), 0xffffffffu);
  EXPECT_EQ(bench.get(0x20), 0x00000004u);
  EXPECT_EQ(bench.get(0x24), 0xfffffffeu);
}

TEST(PciFunction, AbsentBarsReadZero) {
  PciFunction function(kIdentity);
  write_config(function, 0x10, 4, 0xffffffff);
  write_config(function, 0x30, 4, 0xffffffff);
  EXPECT_EQ(read_config(function, 0x10, 4), 0u);
  EXPECT_EQ(read_config(function, 0x30, 4), 0u);
}

TEST(PciFunction, DecodesOnlyWhatTheCommandAllows) {
  Bench bench;
  bench.set(0x10, 0xc0001000);
  bench.set(0x14, 0xc100);
  EXPECT_FALSE(bench.function.decoded_address(0));
  bench.set(0x04, 0x0002, 2);
  EXPECT_EQ(bench.function.decoded_address(0), 0xc0001000u);
  EXPECT_FALSE(bench.function.decoded_address(1));
  bench.set(0x04, 0x0001, 2);
  EXPECT_FALSE(bench.function.decoded_address(0));
  EXPECT_EQ(bench.function.decoded_address(1), 0xc100u);
}

TEST(PciFunction, DecodesSixtyFourBitAddresses) {
  Bench bench;
  bench.set(0x04, 0x0002, 2);
  bench.set(0x18, 0x00004000);
  bench.set(0x1c, 0x00000012);
  EXPECT_EQ(bench.function.decoded_address(2), 0x1200004000u);
}

TEST(PciFunction, NeverDecodesAddressZeroOrBeyondThePorts) {
  Bench bench;
  bench.set(0x04, 0x0003, 2);
  EXPECT_FALSE(bench.function.decoded_address(0));
  bench.set(0x14, 0x00010000);
  EXPECT_FALSE(bench.function.decoded_address(1));
}

TEST(PciFunction, TellsWhenDecodingChanges) {
  Bench bench;
  bench.set(0x10, 0xc0001000);
  EXPECT_EQ(bench.changes, 0);
  bench.set(0x04, 0x0002, 2);
  EXPECT_EQ(bench.changes, 1);
  bench.set(0x10, 0xc0002000);
  EXPECT_EQ(bench.changes, 2);
  bench.set(0x04, 0x0006, 2);
  EXPECT_EQ(bench.changes, 2);
}

TEST(PciFunction, CommandKeepsExistingBitsOnly) {
  Bench bench;
  bench.set(0x04, 0xffff, 2);
  EXPECT_EQ(bench.get(0x04, 2), 0x0547u);
  PciFunction plain({.vendor_id = 1, .device_id = 2});
  write_config(plain, 0x04, 2, 0xffff);
  EXPECT_EQ(read_config(plain, 0x04, 2), 0x0144u);
}

TEST(PciFunction, IsBusMasterOnlyWhenSwitchedOn) {
  Bench bench;
  EXPECT_FALSE(bench.function.is_bus_master());
  bench.function.send_message(0xfee00000, 0x41);
  bench.set(0x04, 0x0004, 2);
  EXPECT_TRUE(bench.function.is_bus_master());
  bench.function.send_message(0xfee00000, 0x42);
  ASSERT_EQ(bench.messages.sent.size(), 1u);
  EXPECT_EQ(bench.messages.sent[0].data, 0x42u);
}

TEST(PciFunction, InterruptDrivesTheLineAndTheStatusBit) {
  Bench bench;
  bench.function.set_interrupt(true);
  EXPECT_TRUE(bench.line.is_high);
  EXPECT_EQ(bench.get(0x06, 2) & 0x8, 0x8u);
  bench.function.set_interrupt(false);
  EXPECT_FALSE(bench.line.is_high);
  EXPECT_EQ(bench.get(0x06, 2) & 0x8, 0u);
}

TEST(PciFunction, InterruptDisableMasksTheLineNotTheStatus) {
  Bench bench;
  bench.function.set_interrupt(true);
  bench.set(0x04, 0x0400, 2);
  EXPECT_FALSE(bench.line.is_high);
  EXPECT_EQ(bench.get(0x06, 2) & 0x8, 0x8u);
  bench.set(0x04, 0, 2);
  EXPECT_TRUE(bench.line.is_high);
}

TEST(PciFunction, MessageInterruptsReplaceThePin) {
  Bench bench;
  FakeCapability capability;
  bench.function.add_capability(0x05, std::array<u8, 2>{}, {}, &capability);
  bench.function.set_interrupt(true);
  capability.replaces = true;
  bench.function.update_interrupt();
  EXPECT_FALSE(bench.line.is_high);
}

TEST(PciFunction, LinksCapabilitiesInOrder) {
  Bench bench;
  EXPECT_EQ(bench.get(0x06, 2), 0u);
  const std::array<u8, 3> first = {1, 2, 3};
  EXPECT_EQ(bench.function.add_capability(0x09, first), 0x40);
  EXPECT_EQ(bench.function.add_capability(0x09, first), 0x48);
  EXPECT_EQ(bench.get(0x06, 2), 0x0010u);
  EXPECT_EQ(bench.get(0x34, 1), 0x40u);
  EXPECT_EQ(bench.get(0x40), 0x02014809u);
  EXPECT_EQ(bench.get(0x48), 0x02010009u);
}

TEST(PciFunction, CapabilitiesKeepTheirMasksAndHearOfAccesses) {
  Bench bench;
  FakeCapability capability;
  const std::array<u8, 2> body = {0x11, 0x22};
  const std::array<u8, 2> mask = {0x00, 0xf0};
  bench.function.add_capability(0x09, body, mask, &capability);
  bench.set(0x40, 0xffffffff);
  EXPECT_EQ(bench.get(0x40), 0xf2110009u);
  bench.get(0x43, 1);
  EXPECT_EQ(capability.log, "w0+4 r0+4 r3+1 ");
}

TEST(PciFunction, ExtendedSpaceIsEmpty) {
  Bench bench;
  EXPECT_EQ(bench.get(0x100), 0u);
  EXPECT_EQ(bench.get(0xffc), 0u);
  bench.set(0x100, 0xffffffff);
  EXPECT_EQ(bench.get(0x100), 0u);
  EXPECT_EQ(bench.get(0x1000), 0xffffffffu);
}

TEST(PciFunction, ResetRestoresWhatFirmwareLeft) {
  Bench bench;
  bench.function.set_power_on_address(0, 0xc0000000);
  bench.function.set_power_on_address(2, 0x100000000);
  bench.function.set_power_on_interrupt_line(11);
  bench.function.set_power_on_decoding();
  bench.set(0x10, 0xd0000000);
  bench.set(0x3c, 5, 1);
  bench.set(0x04, 0x0407, 2);
  bench.function.set_interrupt(true);
  bench.function.reset();
  EXPECT_EQ(bench.function.decoded_address(0), 0xc0000000u);
  EXPECT_EQ(bench.function.decoded_address(2), 0x100000000u);
  EXPECT_EQ(bench.get(0x3c, 2), 0x010bu);
  EXPECT_EQ(bench.get(0x04), 0x0003u);
  EXPECT_FALSE(bench.line.is_high);
}

TEST(PciFunction, StateSurvivesARoundTrip) {
  Bench bench;
  bench.set(0x10, 0xd0000000);
  bench.set(0x04, 0x0007, 2);
  bench.function.set_interrupt(true);
  Bench copy;
  ASSERT_TRUE(load(copy.function, save(bench.function)));
  EXPECT_EQ(save(copy.function), save(bench.function));
  EXPECT_EQ(copy.function.decoded_address(0), 0xd0000000u);
  EXPECT_TRUE(copy.line.is_high);
  EXPECT_EQ(copy.changes, 1);
}

TEST(PciFunction, LoadedStateCannotChangeWhatGuestsCannot) {
  Bench bench;
  std::vector<u8> state = save(bench.function);
  std::mt19937_64 random(1);
  for (u8& byte : std::span(state).last(256)) byte = static_cast<u8>(random());
  Bench copy;
  load(copy.function, state);
  EXPECT_EQ(copy.get(0x00), 0x10421af4u);
  EXPECT_EQ(copy.get(0x10) & 0xfff, 0u);
  EXPECT_EQ(copy.get(0x34, 1), 0u);
}

TEST(PciFunction, RandomAccessesNeverChangeTheRest) {
  Bench bench;
  FakeCapability capability;
  bench.function.add_capability(0x09, std::array<u8, 14>{}, {}, &capability);
  std::mt19937_64 random(2);
  for (int i = 0; i < 50'000; ++i) {
    const unsigned size = 1u << random() % 4;
    const u64 offset = random() % 8 == 0 ? random() % 0x1000 : random() % 0x60;
    write_config(bench.function, offset, size, random());
    read_config(bench.function, offset, size);
  }
  EXPECT_EQ(bench.get(0x00), 0x10421af4u);
  EXPECT_EQ(bench.get(0x10) & 0xfff, 0u);
  EXPECT_EQ(bench.get(0x14) & 0x1f, 1u);
  EXPECT_EQ(bench.get(0x34), 0x40u);
  EXPECT_EQ(bench.get(0x40, 2), 0x0009u);
}

}  // namespace
}  // namespace doppel
