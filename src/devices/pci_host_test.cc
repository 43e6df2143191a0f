// PCI configuration mechanism 1: what a guest's bus scan sees.
#include "devices/pci_host.h"

#include <gtest/gtest.h>

#include "devices/device_fakes.h"
#include "state/state_buffer.h"

namespace doppel {
namespace {

constexpr u64 kEnable = 0x80000000;

class PciHostPorts : public testing::Test {
 protected:
  void select(u64 address) { write_to(host_.address_ports(), 0, address, 4); }
  u64 selected() { return read_from(host_.address_ports(), 0, 4); }
  u64 data(u64 offset, std::size_t size) { return read_from(host_.data_ports(), offset, size); }

  PciHost host_;
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

TEST_F(PciHostPorts, RegistersKeepTheirValues) {
  select(kEnable);
  write_to(host_.data_ports(), 0, 0, 4);
  EXPECT_EQ(data(0, 4), 0x00081b36u);
}

TEST_F(PciHostPorts, StateSurvivesARoundTrip) {
  select(kEnable | 8);
  StateSaver saver;
  host_.visit_state(saver);
  const std::vector<u8> state = saver.take();
  PciHost copy;
  StateLoader loader(state);
  copy.visit_state(loader);
  ASSERT_TRUE(loader.finish());
  EXPECT_EQ(read_from(copy.address_ports(), 0, 4), kEnable | 8);
}

}  // namespace
}  // namespace doppel
