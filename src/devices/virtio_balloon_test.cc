// The balloon takes pages, returns them to the host, and passes statistics on.
#include "devices/virtio_balloon.h"

#include "devices/virtio_device_fixture.h"

namespace doppel {
namespace {

using namespace virtio_balloon;

class Balloon : public VirtioDeviceFixture {
 protected:
  void start(u64 features = kAllSplitFeatures) {
    plug(device_);
    ASSERT_TRUE(driver_->start(features));
    ASSERT_TRUE(memory_->write_value(GuestPhys(0x10000), u64{1}));
    ASSERT_TRUE(memory_->write_value(GuestPhys(0x11000), u64{2}));
    ASSERT_TRUE(memory_->write_value(GuestPhys(0x12000), u64{3}));
  }
  u64 at(u64 address) { return *memory_->read_value<u64>(GuestPhys(address)); }
  void write_config32(u64 offset, u32 value) {
    std::array<u8, 4> bytes;
    store_le(bytes, value);
    core_->write_config(offset, bytes);
  }

  VirtioBalloon device_{{}, timers_};
};

TEST_F(Balloon, InflatingReturnsPages) {
  start();
  driver_->send(0, {driver_->readable_value(std::array<u32, 3>{0x12, 0x10, 0x10})});
  EXPECT_TRUE(driver_->take(0));
  EXPECT_EQ(at(0x10000), 0u);
  EXPECT_EQ(at(0x11000), 2u);
  EXPECT_EQ(at(0x12000), 0u);
  EXPECT_EQ(device_.discarded_pages(), 2u);
}

TEST_F(Balloon, PagesThatAreNoRamAreSkipped) {
  start();
  driver_->send(0, {driver_->readable_value(std::array<u32, 4>{0x7ff, 0x800, 0xffffffff, 0x10})});
  EXPECT_TRUE(driver_->take(0));
  EXPECT_EQ(device_.discarded_pages(), 2u);
  EXPECT_EQ(core_->broken_queues(), 0u);
}

TEST_F(Balloon, DeflatingTouchesNothing) {
  start();
  driver_->send(1, {driver_->readable_value(u32{0x10})});
  EXPECT_TRUE(driver_->take(1));
  EXPECT_EQ(at(0x10000), 1u);
}

TEST_F(Balloon, TargetIsInTheConfiguration) {
  start();
  device_.set_target_pages(100);
  EXPECT_EQ(config32(0), 100u);
  EXPECT_EQ(interrupts_.config_interrupts, 1u);
  write_config32(4, 7);
  EXPECT_EQ(device_.actual_pages(), 7u);
  write_config32(0, 7);
  EXPECT_EQ(device_.target_pages(), 100u);
}

TEST_F(Balloon, ReportedPagesAreReturned) {
  start();
  driver_->send(4, {{GuestPhys(0x10000), 0x1fff, true}});
  EXPECT_EQ(driver_->take(4)->written, 0u);
  EXPECT_EQ(at(0x10000), 0u);
  EXPECT_EQ(at(0x11000), 2u);
}

TEST_F(Balloon, PoisonedPagesKeepTheirPattern) {
  start();
  write_config32(12, 0xaaaaaaaa);
  driver_->send(4, {{GuestPhys(0x10000), 0x1000, true}});
  EXPECT_EQ(at(0x10000), 1u);
}

TEST_F(Balloon, QueuesMoveUpWithoutFeatures) {
  start(kAllSplitFeatures & ~kFeatureStatistics & ~kFeatureFreePageHint);
  driver_->send(2, {{GuestPhys(0x10000), 0x1000, true}});
  EXPECT_EQ(at(0x10000), 0u);
}

#pragma pack(push, 1)
struct Statistic {
  u16 tag;
  u64 value;
};
#pragma pack(pop)

TEST_F(Balloon, StatisticsArriveWhenAskedFor) {
  start();
  EXPECT_FALSE(device_.request_statistics());
  const TestPiece buffer =
      driver_->readable_value(std::array{Statistic{4, 123}, Statistic{5, 456}, Statistic{999, 1}});
  driver_->send(2, {buffer});
  EXPECT_EQ(device_.statistics()[4], 123u);
  EXPECT_EQ(device_.statistics()[5], 456u);
  EXPECT_EQ(device_.statistics_taken(), 1u);
  EXPECT_FALSE(driver_->take(2));
  EXPECT_TRUE(device_.request_statistics());
  EXPECT_TRUE(driver_->take(2));
}

TEST_F(Balloon, StatisticsBufferThatWasNotAnnouncedIsFound) {
  start();
  const std::array pieces = {driver_->readable_value(Statistic{4, 123})};
  ASSERT_TRUE(driver_->ring(2).add(pieces, false));
  EXPECT_EQ(device_.statistics_taken(), 0u);
  EXPECT_TRUE(device_.request_statistics());
  EXPECT_EQ(device_.statistics_taken(), 1u);
  EXPECT_TRUE(driver_->take(2));
}

TEST_F(Balloon, StatisticsBufferSurvivesSaveAndLoad) {
  start();
  driver_->send(2, {driver_->readable_value(Statistic{4, 123})});
  const std::vector<u8> state = save();
  core_->reset();
  ASSERT_TRUE(load(state));
  EXPECT_EQ(save(), state);
  EXPECT_EQ(device_.statistics()[4], 123u);
  EXPECT_TRUE(device_.request_statistics());
  EXPECT_TRUE(driver_->take(2));
}

TEST_F(Balloon, HintsAreTakenBetweenTheirCommands) {
  start();
  u64 hinted = 0;
  device_.begin_free_page_hints([&](GuestPhys, u64 size) { hinted += size; });
  const u32 command = config32(8);
  ASSERT_GE(command, 2u);
  driver_->send(3, {driver_->readable_value(command)});
  driver_->send(3, {{GuestPhys(0x10000), 0x2000, true}});
  driver_->send(3, {driver_->readable_value(kHintStop)});
  driver_->send(3, {{GuestPhys(0x10000), 0x1000, true}});
  EXPECT_EQ(hinted, 0x2000u);
  EXPECT_TRUE(device_.has_finished_hints());
  EXPECT_EQ(at(0x10000), 1u);
  device_.end_free_page_hints();
  EXPECT_EQ(config32(8), kHintDone);
}

TEST_F(Balloon, HintsOfAnOldRoundAreIgnored) {
  start();
  u64 hinted = 0;
  device_.begin_free_page_hints([&](GuestPhys, u64 size) { hinted += size; });
  const u32 command = config32(8);
  device_.begin_free_page_hints([&](GuestPhys, u64 size) { hinted += size; });
  driver_->send(3, {driver_->readable_value(command)});
  driver_->send(3, {{GuestPhys(0x10000), 0x1000, true}});
  EXPECT_EQ(hinted, 0u);
}

}  // namespace
}  // namespace doppel
