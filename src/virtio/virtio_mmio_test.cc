// The MMIO register block as a driver uses it.
#include "virtio/virtio_mmio.h"

#include "bus/bus_fakes.h"
#include "virtio/virtio_fixture.h"

namespace doppel {
namespace {

using bus_test::read;
using bus_test::write;

class Mmio : public testing::Test {
 protected:
  Mmio() : memory_(*GuestMemory::create(4 * kMiB)) {
    auto device = std::make_unique<EchoDevice>();
    device_ = device.get();
    mmio_ = std::make_unique<VirtioMmio>(*memory_, std::move(device), VirtioOptions{}, line_);
    driver_ = std::make_unique<TestDriver>(*memory_, mmio_->core());
  }
  u32 in(u64 offset) { return static_cast<u32>(read(*mmio_, offset, 4)); }
  void out(u64 offset, u32 value) { write(*mmio_, offset, 4, value); }
  void negotiate() {
    out(0x070, 0);
    out(0x070, 3);
    out(0x024, 1);
    out(0x020, 1);  // VERSION_1
    out(0x070, 0xb);
  }

  std::unique_ptr<GuestMemory> memory_;
  bus_test::FakeLine line_;
  EchoDevice* device_;
  std::unique_ptr<VirtioMmio> mmio_;
  std::unique_ptr<TestDriver> driver_;
};

TEST_F(Mmio, IdentifiesItself) {
  EXPECT_EQ(in(0x000), 0x74726976u);
  EXPECT_EQ(in(0x004), 2u);
  EXPECT_EQ(in(0x008), 42u);
}

TEST_F(Mmio, ShowsFeaturesInHalves) {
  EXPECT_EQ(in(0x010) & 1, EchoDevice::kFeature);
  out(0x014, 1);
  EXPECT_EQ(in(0x010) & 1, 1u);
  out(0x014, 2);
  EXPECT_EQ(in(0x010), 0u);
}

TEST_F(Mmio, RunsAQueue) {
  negotiate();
  TestAllocator allocator(*memory_, 2 * kMiB);
  TestSplitRing ring(*memory_, allocator, 8);
  out(0x030, 0);
  EXPECT_EQ(in(0x034), 256u);
  out(0x038, 8);
  out(0x080, static_cast<u32>(ring.descriptors.value()));
  out(0x090, static_cast<u32>(ring.driver.value()));
  out(0x0a0, static_cast<u32>(ring.device.value()));
  out(0x044, 1);
  EXPECT_EQ(in(0x044), 1u);
  out(0x070, 0xf);
  ring.add(std::vector{driver_->readable("x"), driver_->writable(1)}, false);
  out(0x050, 0);
  EXPECT_TRUE(ring.take());
  EXPECT_TRUE(line_.is_high);
  EXPECT_EQ(in(0x060), 1u);
  out(0x064, 1);
  EXPECT_FALSE(line_.is_high);
}

TEST_F(Mmio, HighHalvesOfAddressesCount) {
  negotiate();
  out(0x038, 8);
  out(0x084, 1);
  EXPECT_EQ(mmio_->core().queue_registers(0)->descriptors, u64{1} << 32);
}

TEST_F(Mmio, QueueReadyZeroStopsTheQueue) {
  ASSERT_TRUE(driver_->start(kEveryFeature));
  out(0x030, 1);
  EXPECT_EQ(in(0x044), 1u);
  out(0x044, 0);
  EXPECT_EQ(in(0x044), 0u);
  EXPECT_FALSE(device_->host()->queue(1).is_enabled());
}

TEST_F(Mmio, QueueResetStopsTheQueue) {
  ASSERT_TRUE(driver_->start(kEveryFeature));
  out(0x0c0, 1);
  EXPECT_EQ(in(0x0c0), 0u);
  EXPECT_EQ(in(0x044), 0u);
}

TEST_F(Mmio, ConfigurationInterruptHasItsBit) {
  ASSERT_TRUE(driver_->start(kEveryFeature));
  const u32 generation = in(0x0fc);
  device_->host()->notify_config();
  EXPECT_EQ(in(0x060), 2u);
  EXPECT_NE(in(0x0fc), generation);
}

TEST_F(Mmio, ResetLowersTheLine) {
  ASSERT_TRUE(driver_->start(kEveryFeature));
  driver_->send(0, {driver_->readable("x")});
  ASSERT_TRUE(line_.is_high);
  out(0x070, 0);
  EXPECT_FALSE(line_.is_high);
  EXPECT_EQ(in(0x060), 0u);
}

TEST_F(Mmio, RegistersTakeWordsOnly) {
  EXPECT_EQ(read(*mmio_, 0x000, 2), 0u);
  EXPECT_EQ(read(*mmio_, 0x002, 4), 0u);
  write(*mmio_, 0x070, 1, 1);
  EXPECT_EQ(in(0x070), 0u);
}

TEST_F(Mmio, ConfigurationTakesAnySize) {
  write(*mmio_, 0x103, 1, 0x5a);
  EXPECT_EQ(in(0x100), 0x5a000000u);
  EXPECT_EQ(read(*mmio_, 0x102, 2), 0x5a00u);
}

TEST_F(Mmio, HasNoSharedMemory) {
  out(0x0ac, 0);
  EXPECT_EQ(in(0x0b0), 0xffffffffu);
  EXPECT_EQ(in(0x0b4), 0xffffffffu);
}

TEST_F(Mmio, StateSurvivesSaveAndLoad) {
  ASSERT_TRUE(driver_->start(kEveryFeature));
  driver_->send(0, {driver_->readable("x")});
  const auto state = bus_test::save(*mmio_);
  mmio_->reset();
  EXPECT_FALSE(line_.is_high);
  ASSERT_TRUE(bus_test::load(*mmio_, state));
  EXPECT_TRUE(line_.is_high);
  EXPECT_EQ(bus_test::save(*mmio_), state);
}

}  // namespace
}  // namespace doppel
