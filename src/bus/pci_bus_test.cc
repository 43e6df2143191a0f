// The PCI bus: slots, addresses given at power on, mapping of BARs, shared interrupts.
#include "bus/pci_bus.h"

#include <gtest/gtest.h>

#include <random>

#include "bus/bus_fakes.h"

namespace doppel {
namespace {

using namespace bus_test;

constexpr PciIdentity kIdentity = {.vendor_id = 0x1af4, .device_id = 0x1000, .has_interrupt_pin = true};
constexpr u64 kMemory32 = 0xc0000000;
constexpr u64 kMemory64 = 0x800000000;

u64 read_at(AddressMap& map, u64 address, unsigned size = 4) {
  std::array<u8, 8> data = {};
  map.read(address, std::span(data).first(size));
  return load_le(std::span(data).first(size));
}

// A function with a 4 KiB memory BAR, a 32-byte I/O BAR and a large 64-bit BAR.
struct FakeFunction {
  explicit FakeFunction(u8 tag) : registers(tag) {
    function.add_bar(0, BarKind::kMemory32, 0x1000, registers);
    function.add_bar(1, BarKind::kIo, 0x20, registers);
    function.add_bar(2, BarKind::kMemory64Prefetchable, kGiB, registers);
  }
  PciFunction function{kIdentity};
  FakeRegisters registers;
};

struct Bench {
  AddressMap ports;
  AddressMap memory;
  FakeMessages messages;
  std::array<FakeLine, 8> inputs;
  std::array<FakeLine, 2> legacy;
  PciBus bus{ports, memory, messages, resources()};
  FakeFunction first{0x10};
  FakeFunction second{0x40};

  PciResources resources() {
    PciResources resources{.io = {0xc000, 0x4000},
                           .memory32 = {kMemory32, 0x10000000},
                           .memory64 = {kMemory64, 4 * kGiB},
                           .legacy_irqs = {10, 11}};
    for (unsigned i = 0; i < 8; ++i) resources.inputs[i] = &inputs[i];
    for (unsigned i = 0; i < 2; ++i) resources.legacy_lines[i] = &legacy[i];
    return resources;
  }
  u64 config(unsigned device, u64 offset, unsigned size = 4) {
    std::array<u8, 8> data = {};
    bus.read_config(0, device * 8, offset, std::span(data).first(size));
    return load_le(std::span(data).first(size));
  }
};

TEST(PciBus, AbsentFunctionsReadOnes) {
  Bench bench;
  ASSERT_TRUE(bench.bus.plug(bench.first.function, 3));
  EXPECT_EQ(bench.config(3, 0), 0x10001af4u);
  EXPECT_EQ(bench.config(2, 0), 0xffffffffu);
  std::array<u8, 4> data = {};
  bench.bus.read_config(1, 3 * 8, 0, data);
  EXPECT_EQ(load_le(data), 0xffffffffu);
  bench.bus.read_config(0, 0x1000, 0, data);
  EXPECT_EQ(load_le(data), 0xffffffffu);
}

TEST(PciBus, PluggedFunctionsAnswerAtOnce) {
  Bench bench;
  EXPECT_EQ(bench.bus.plug(bench.first.function).value(), 0u);
  EXPECT_EQ(bench.bus.plug(bench.second.function).value(), 1u);
  EXPECT_EQ(bench.config(0, 0x10), kMemory32);
  EXPECT_EQ(bench.config(1, 0x10), kMemory32 + 0x1000);
  EXPECT_EQ(bench.config(1, 0x04, 2), 0x0003u);
  EXPECT_EQ(read_at(bench.memory, kMemory32), 0x13121110u);
  EXPECT_EQ(read_at(bench.memory, kMemory32 + 0x1000), 0x43424140u);
  EXPECT_EQ(read_at(bench.ports, 0xc020), 0x43424140u);
  EXPECT_EQ(read_at(bench.memory, kMemory64 + kGiB), 0x43424140u);
}

TEST(PciBus, MovedBarAnswersAtItsNewPlaceOnly) {
  Bench bench;
  ASSERT_TRUE(bench.bus.plug(bench.first.function));
  write_config(bench.first.function, 0x10, 4, 0xd0000000);
  EXPECT_EQ(read_at(bench.memory, 0xd0000000), 0x13121110u);
  EXPECT_EQ(read_at(bench.memory, kMemory32), 0xffffffffu);
  write_config(bench.first.function, 0x04, 2, 0x0001);
  EXPECT_EQ(read_at(bench.memory, 0xd0000000), 0xffffffffu);
  EXPECT_EQ(read_at(bench.ports, 0xc000), 0x13121110u);
}

TEST(PciBus, EarlierFunctionWinsAnOverlap) {
  Bench bench;
  ASSERT_TRUE(bench.bus.plug(bench.first.function));
  ASSERT_TRUE(bench.bus.plug(bench.second.function));
  write_config(bench.second.function, 0x10, 4, kMemory32);
  EXPECT_EQ(read_at(bench.memory, kMemory32), 0x13121110u);
  write_config(bench.first.function, 0x10, 4, 0xd0000000);
  EXPECT_EQ(read_at(bench.memory, kMemory32), 0x43424140u);
}

TEST(PciBus, FixedDeviceWinsAnOverlap) {
  Bench bench;
  FakeRegisters fixed(0x80);
  ASSERT_TRUE(bench.memory.add(0xfec00000, 0x1000, fixed, "fixed"));
  ASSERT_TRUE(bench.bus.plug(bench.first.function));
  write_config(bench.first.function, 0x10, 4, 0xfec00000);
  EXPECT_EQ(read_at(bench.memory, 0xfec00000), 0x83828180u);
  write_config(bench.first.function, 0x10, 4, kMemory32);
  EXPECT_EQ(read_at(bench.memory, kMemory32), 0x13121110u);
}

TEST(PciBus, SlotsTakeOneFunctionEach) {
  Bench bench;
  ASSERT_TRUE(bench.bus.plug(bench.first.function, 4));
  EXPECT_FALSE(bench.bus.plug(bench.second.function, 4));
  EXPECT_FALSE(bench.bus.plug(bench.second.function, 5, 1));
  EXPECT_FALSE(bench.bus.plug(bench.second.function, 32));
  ASSERT_TRUE(bench.bus.plug(bench.second.function, 4, 1));
  EXPECT_EQ(bench.config(4, 0x0e, 1), 0x80u);
}

TEST(PciBus, RefusesWhatDoesNotFitIntoItsWindow) {
  Bench bench;
  FakeRegisters registers;
  PciFunction large(kIdentity);
  large.add_bar(0, BarKind::kMemory64, 8 * kGiB, registers);
  EXPECT_FALSE(bench.bus.plug(large));
}

TEST(PciBus, RoutesInterruptsByDeviceNumber) {
  Bench bench;
  ASSERT_TRUE(bench.bus.plug(bench.first.function, 3));
  EXPECT_EQ(bench.config(3, 0x3c, 1), 11u);
  bench.first.function.set_interrupt(true);
  EXPECT_TRUE(bench.inputs[3].is_high);
  EXPECT_TRUE(bench.legacy[1].is_high);
  EXPECT_FALSE(bench.legacy[0].is_high);
}

TEST(PciBus, SharedInputFallsWithTheLastAssertion) {
  Bench bench;
  ASSERT_TRUE(bench.bus.plug(bench.first.function, 2));
  ASSERT_TRUE(bench.bus.plug(bench.second.function, 10));
  bench.first.function.set_interrupt(true);
  bench.second.function.set_interrupt(true);
  bench.second.function.set_interrupt(true);
  bench.first.function.set_interrupt(false);
  EXPECT_TRUE(bench.inputs[2].is_high);
  bench.second.function.set_interrupt(false);
  EXPECT_FALSE(bench.inputs[2].is_high);
}

TEST(PciBus, LegacyLineIsSharedByEverySecondInput) {
  Bench bench;
  ASSERT_TRUE(bench.bus.plug(bench.first.function, 2));
  ASSERT_TRUE(bench.bus.plug(bench.second.function, 4));
  bench.first.function.set_interrupt(true);
  bench.second.function.set_interrupt(true);
  bench.first.function.set_interrupt(false);
  EXPECT_TRUE(bench.legacy[0].is_high);
  EXPECT_FALSE(bench.inputs[2].is_high);
}

TEST(PciBus, LoadingAFunctionMovesItsBars) {
  Bench bench;
  ASSERT_TRUE(bench.bus.plug(bench.first.function));
  write_config(bench.first.function, 0x10, 4, 0xd0000000);
  Bench copy;
  ASSERT_TRUE(copy.bus.plug(copy.first.function));
  ASSERT_TRUE(load(copy.first.function, save(bench.first.function)));
  EXPECT_EQ(read_at(copy.memory, 0xd0000000), 0x13121110u);
  EXPECT_EQ(read_at(copy.memory, kMemory32), 0xffffffffu);
}

TEST(PciBus, SurvivesRandomConfiguration) {
  Bench bench;
  ASSERT_TRUE(bench.bus.plug(bench.first.function));
  ASSERT_TRUE(bench.bus.plug(bench.second.function));
  std::mt19937_64 random(4);
  for (int i = 0; i < 20'000; ++i) {
    std::array<u8, 8> data = {};
    store_le(data, random());
    const std::span<u8> part = std::span(data).first(1u << random() % 4);
    bench.bus.write_config(0, (random() % 3) * 8, random() % 0x40, part);
    bench.bus.read_config(0, (random() % 3) * 8, random() % 0x1000, part);
    read_at(bench.memory, kMemory32 + random() % 0x10000);
  }
  bench.first.function.reset();
  bench.second.function.reset();
  EXPECT_EQ(read_at(bench.memory, kMemory32), 0x13121110u);
  EXPECT_EQ(read_at(bench.memory, kMemory32 + 0x1000), 0x43424140u);
}

}  // namespace
}  // namespace doppel
