// Both ways into PCI configuration space: what a guest's bus scan sees.
#include "devices/pci_host.h"

#include <gtest/gtest.h>

#include "devices/device_fakes.h"
#include "state/state_buffer.h"

namespace doppel {
namespace {

constexpr u64 kEnable = 0x80000000;

// A bus without windows: the bridge needs none.
struct World {
  World() { EXPECT_TRUE(host.plug()); }
  AddressMap ports;
  AddressMap memory;
  struct NoMessages final : MsiSink {
    void send(u64, u32) override {}
  } messages;
  PciBus bus{ports, memory, messages, {}};
  PciHost host{bus};
};

class PciHostPorts : public testing::Test {
 protected:
  void select(u64 address) { write_to(host_.address_ports(), 0, address, 4); }
  u64 selected() { return read_from(host_.address_ports(), 0, 4); }
  u64 data(u64 offset, std::size_t size) { return read_from(host_.data_ports(), offset, size); }

  World world_;
  PciHost& host_ = world_.host;
};

TEST_F(PciHostPorts, AddressReadsBackWithoutReservedBits) {
  select(0xffffffff);
  EXPECT_EQ(selected(), 0x80fffffcu);
}

TEST_F(PciHostPorts, AddressTakesDwordsOnly) {
  select(kEnable);
  write_to(host_.address_ports(), 3, 1, 1);
  write_to(host_.address_ports(), 0, 0, 2);
  EXPECT_EQ(selected(), kEnable);
  EXPECT_EQ(read_from(host_.address_ports(), 0, 1), 0xffu);
}

TEST_F(PciHostPorts, HostBridgeIsFoundAtFunctionZero) {
  select(kEnable);
  EXPECT_EQ(data(0, 2), 0x1b36u);
  EXPECT_EQ(data(2, 2), 0x0008u);
  select(kEnable | 8);
  EXPECT_EQ(data(2, 2), 0x0600u);
  EXPECT_EQ(data(3, 1), 0x06u);
}

TEST_F(PciHostPorts, HostBridgeIsASingleFunctionWithoutResources) {
  select(kEnable | 0x0c);
  EXPECT_EQ(data(0, 4), 0u);
  select(kEnable | 0x10);
  EXPECT_EQ(data(0, 4), 0u);
}

TEST_F(PciHostPorts, OtherFunctionsDoNotExist) {
  select(kEnable | 1 << 8);
  EXPECT_EQ(data(0, 4), 0xffffffffu);
  select(kEnable | 1 << 11);
  EXPECT_EQ(data(0, 4), 0xffffffffu);
  select(kEnable | 1 << 16);
  EXPECT_EQ(data(0, 2), 0xffffu);
}

TEST_F(PciHostPorts, WindowIsClosedWithoutTheEnableBit) {
  select(0);
  EXPECT_EQ(data(0, 4), 0xffffffffu);
}

TEST_F(PciHostPorts, IdentityKeepsItsValue) {
  select(kEnable);
  write_to(host_.data_ports(), 0, 0, 4);
  EXPECT_EQ(data(0, 4), 0x00081b36u);
}

TEST_F(PciHostPorts, MemoryMappedSpaceShowsTheSameRegisters) {
  EXPECT_EQ(read_from(host_.ecam(), 0x000, 4), 0x00081b36u);
  EXPECT_EQ(read_from(host_.ecam(), 0x00a, 2), 0x0600u);
  EXPECT_EQ(read_from(host_.ecam(), 0x100, 4), 0u);
  EXPECT_EQ(read_from(host_.ecam(), 0x1000, 4), 0xffffffffu);
  EXPECT_EQ(read_from(host_.ecam(), 0x8000, 8), ~u64{0});
  write_to(host_.ecam(), 0x0c, 0x08, 1);
  select(kEnable | 0x0c);
  EXPECT_EQ(data(0, 4), 0x08u);
}

TEST_F(PciHostPorts, MemoryMappedAccessIsSplitBetweenFunctions) {
  EXPECT_EQ(read_from(host_.ecam(), 0xffe, 4), 0xffff0000u);
  write_to(host_.ecam(), 0xffe, 0, 4);
}

TEST_F(PciHostPorts, StateSurvivesARoundTrip) {
  select(kEnable | 8);
  StateSaver saver;
  host_.visit_state(saver);
  const std::vector<u8> state = saver.take();
  World other;
  PciHost& copy = other.host;
  StateLoader loader(state);
  copy.visit_state(loader);
  ASSERT_TRUE(loader.finish());
  EXPECT_EQ(read_from(copy.address_ports(), 0, 4), kEnable | 8);
}

}  // namespace
}  // namespace doppel
