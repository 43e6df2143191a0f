// The PCI function as a driver uses it: capabilities, common configuration, interrupts.
#include "virtio/virtio_pci.h"

#include "bus/bus_fakes.h"
#include "virtio/virtio_fixture.h"
#include "virtio/virtio_pci_layout.h"

namespace doppel {
namespace {

using bus_test::read_config;
using bus_test::write_config;
using virtio_pci::CommonConfig;

class Pci : public testing::Test {
 protected:
  Pci() : memory_(*GuestMemory::create(4 * kMiB)) {
    auto device = std::make_unique<EchoDevice>();
    device_ = device.get();
    pci_ = std::make_unique<VirtioPci>(*memory_, std::move(device), VirtioOptions{});
    function().connect({.decoding_changed = [] {}, .interrupt = &line_, .messages = &messages_});
    pci_->reset();
    write_config(function(), pci::kCommand, 2, pci::kCommandMemory | pci::kCommandBusMaster);
    driver_ = std::make_unique<TestDriver>(*memory_, pci_->core());
  }
  PciFunction& function() { return pci_->function(); }
  u64 in(u64 offset, unsigned size) { return bus_test::read(*function().bar(0).device, offset, size); }
  void out(u64 offset, unsigned size, u64 value) {
    bus_test::write(*function().bar(0).device, offset, size, value);
  }
  // The capability of that cfg_type, or 0.
  u64 find_capability(u8 type) {
    u64 at = read_config(function(), pci::kCapabilityPointer, 1);
    while (at != 0) {
      if (read_config(function(), at, 1) == 9 && read_config(function(), at + 3, 1) == type) return at;
      at = read_config(function(), at + 1, 1);
    }
    return 0;
  }
  // One message for vector `vector`, address 0xfee00000 + vector, MSI-X on.
  void enable_msix() {
    u64 at = read_config(function(), pci::kCapabilityPointer, 1);
    while (read_config(function(), at, 1) != pci::kCapabilityMsix) at = read_config(function(), at + 1, 1);
    BusDevice& table = *function().bar(VirtioPci::kMsixBar).device;
    for (u64 vector = 0; vector < 3; ++vector) {
      bus_test::write(table, 16 * vector, 4, 0xfee00000 + 16 * vector);
      bus_test::write(table, 16 * vector + 12, 4, 0);
    }
    write_config(function(), at + 2, 2, 0x8000);
  }

  std::unique_ptr<GuestMemory> memory_;
  bus_test::FakeLine line_;
  bus_test::FakeMessages messages_;
  EchoDevice* device_;
  std::unique_ptr<VirtioPci> pci_;
  std::unique_ptr<TestDriver> driver_;
};

TEST_F(Pci, IdentifiesAsModernDevice) {
  EXPECT_EQ(read_config(function(), 0, 4), 0x106a1af4u);
  EXPECT_GE(read_config(function(), pci::kRevision, 1), 1u);
  EXPECT_GE(read_config(function(), pci::kSubsystemId, 2), 0x40u);
}

TEST_F(Pci, DescribesItsRegions) {
  for (u8 type = 1; type <= 5; ++type) EXPECT_NE(find_capability(type), 0u);
  const u64 notify = find_capability(2);
  EXPECT_EQ(read_config(function(), notify + 2, 1), 20u);
  EXPECT_EQ(read_config(function(), notify + 8, 4), VirtioPci::kNotifyStart);
  EXPECT_EQ(read_config(function(), notify + 16, 4), VirtioPci::kNotifyMultiplier);
}

TEST_F(Pci, RunsAQueue) {
  out(20, 1, 3);
  out(8, 4, 1);
  out(12, 4, 1);  // VERSION_1
  out(20, 1, 0xb);
  EXPECT_EQ(in(18, 2), 2u);
  TestAllocator allocator(*memory_, 2 * kMiB);
  TestSplitRing ring(*memory_, allocator, 8);
  out(22, 2, 1);
  EXPECT_EQ(in(24, 2), 256u);
  out(24, 2, 8);
  out(32, 8, ring.descriptors.value());
  out(40, 4, ring.driver.value());
  out(48, 4, ring.device.value());
  out(28, 2, 1);
  EXPECT_EQ(in(28, 2), 1u);
  EXPECT_EQ(in(32, 8), ring.descriptors.value());
  out(20, 1, 0xf);
  EXPECT_EQ(in(20, 1), 0xfu);
  ring.add(std::vector{driver_->readable("x"), driver_->writable(1)}, false);
  out(VirtioPci::kNotifyStart + in(30, 2) * VirtioPci::kNotifyMultiplier, 2, 1);
  device_->answer();
  EXPECT_TRUE(ring.take());
}

TEST_F(Pci, FirstFieldsAreWhereTheSpecificationHasThem) {
  EXPECT_EQ(offsetof(CommonConfig, queue_select), 22u);
  EXPECT_EQ(offsetof(CommonConfig, queue_desc), 32u);
  EXPECT_EQ(offsetof(CommonConfig, queue_reset), 58u);
}

TEST_F(Pci, ReadingIsrLowersThePin) {
  ASSERT_TRUE(driver_->start(kEveryFeature));
  driver_->send(0, {driver_->readable("x")});
  EXPECT_TRUE(line_.is_high);
  EXPECT_EQ(in(VirtioPci::kIsrStart, 1), 1u);
  EXPECT_FALSE(line_.is_high);
  EXPECT_EQ(in(VirtioPci::kIsrStart, 1), 0u);
}

TEST_F(Pci, MessagesGoToEachQueuesVector) {
  enable_msix();
  ASSERT_TRUE(driver_->start(kEveryFeature));
  out(22, 2, 0);
  out(26, 2, 1);
  EXPECT_EQ(in(26, 2), 1u);
  out(16, 2, 2);
  driver_->send(0, {driver_->readable("x")});
  device_->host()->notify_config();
  ASSERT_EQ(messages_.sent.size(), 2u);
  EXPECT_EQ(messages_.sent[0].address, 0xfee00010u);
  EXPECT_EQ(messages_.sent[1].address, 0xfee00020u);
  EXPECT_FALSE(line_.is_high);
  EXPECT_EQ(in(VirtioPci::kIsrStart, 1), 2u);
}

TEST_F(Pci, VectorsThatDoNotExistAreRefused) {
  out(22, 2, 0);
  out(26, 2, 3);
  EXPECT_EQ(in(26, 2), 0xffffu);
  out(16, 2, 99);
  EXPECT_EQ(in(16, 2), 0xffffu);
}

TEST_F(Pci, WithoutBusMasteringNothingIsFetched) {
  ASSERT_TRUE(driver_->start(kEveryFeature));
  write_config(function(), pci::kCommand, 2, pci::kCommandMemory);
  driver_->ring(0).add(std::vector{driver_->readable("x")});
  out(VirtioPci::kNotifyStart, 2, 0);
  EXPECT_FALSE(driver_->take(0));
}

TEST_F(Pci, ResetForgetsVectors) {
  out(22, 2, 0);
  out(26, 2, 1);
  out(20, 1, 0);
  EXPECT_EQ(in(26, 2), 0xffffu);
}

TEST_F(Pci, QueueIsResetAlone) {
  ASSERT_TRUE(driver_->start(kEveryFeature));
  out(22, 2, 1);
  out(58, 2, 1);
  EXPECT_EQ(in(58, 2), 0u);
  EXPECT_EQ(in(28, 2), 0u);
}

TEST_F(Pci, ConfigurationSpaceReachesTheBar) {
  const u64 access = find_capability(5);
  write_config(function(), access + 4, 1, 0);
  write_config(function(), access + 8, 4, 20);  // device status
  write_config(function(), access + 12, 4, 1);
  write_config(function(), access + 16, 1, 3);
  EXPECT_EQ(pci_->core().status(), 3);
  EXPECT_EQ(read_config(function(), access + 16, 1), 3u);
}

TEST_F(Pci, ConfigurationSpaceAccessStaysInTheBar) {
  const u64 access = find_capability(5);
  for (const u64 bad_bar : {1, 5, 6, 255}) {
    write_config(function(), access + 4, 1, bad_bar);
    write_config(function(), access + 12, 4, 4);
    read_config(function(), access + 16, 4);
  }
  write_config(function(), access + 4, 1, 0);
  write_config(function(), access + 8, 4, VirtioPci::kBarSize);
  write_config(function(), access + 16, 4, 1);
  write_config(function(), access + 8, 4, 0xfffffffc);
  EXPECT_EQ(read_config(function(), access + 16, 4), 1u);
}

TEST_F(Pci, StateSurvivesSaveAndLoad) {
  enable_msix();
  ASSERT_TRUE(driver_->start(kEveryFeature));
  out(26, 2, 1);
  driver_->send(1, {driver_->readable("x")});
  const auto state = bus_test::save(*pci_);
  pci_->reset();
  ASSERT_TRUE(bus_test::load(*pci_, state));
  EXPECT_EQ(bus_test::save(*pci_), state);
  EXPECT_EQ(device_->waiting(), 1u);
}

TEST_F(Pci, AQueueIsResetByItsRegisterWhenThatWasNegotiated) {
  ASSERT_TRUE(driver_->start(~kVirtioFRingPacked));
  out(offsetof(CommonConfig, queue_select), 2, 1);
  out(offsetof(CommonConfig, queue_msix_vector), 2, 1);
  out(offsetof(CommonConfig, queue_reset), 2, 1);
  EXPECT_EQ(in(offsetof(CommonConfig, queue_reset), 2), 0u);
  EXPECT_EQ(in(offsetof(CommonConfig, queue_enable), 2), 0u);
  EXPECT_EQ(in(offsetof(CommonConfig, queue_msix_vector), 2), 0xffffu);
  EXPECT_EQ(in(offsetof(CommonConfig, queue_desc), 4), 0u);
  out(offsetof(CommonConfig, queue_select), 2, 0);
  EXPECT_EQ(in(offsetof(CommonConfig, queue_enable), 2), 1u);
}

TEST_F(Pci, QueueResetIsNoRegisterWhenItWasNotNegotiated) {
  ASSERT_TRUE(driver_->start(~(kVirtioFRingPacked | kVirtioFRingReset)));
  out(offsetof(CommonConfig, queue_select), 2, 1);
  out(offsetof(CommonConfig, queue_reset), 2, 1);
  EXPECT_EQ(in(offsetof(CommonConfig, queue_enable), 2), 1u);
}

}  // namespace
}  // namespace doppel
