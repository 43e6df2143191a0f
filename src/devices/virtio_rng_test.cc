// Entropy for drivers, within its rate.
#include "devices/virtio_rng.h"

#include "devices/virtio_device_fixture.h"

namespace doppel {
namespace {

using namespace std::chrono_literals;

class Rng : public VirtioDeviceFixture {
 protected:
  void start(RateLimit limit = {}) {
    device_ = std::make_unique<VirtioRng>(timers_, limit);
    plug(*device_);
    ASSERT_TRUE(driver_->start(kAllSplitFeatures));
  }
  std::unique_ptr<VirtioRng> device_;
};

TEST_F(Rng, FillsABuffer) {
  start();
  const TestPiece buffer = driver_->writable(4);
  driver_->send(0, {buffer});
  EXPECT_EQ(driver_->take(0)->written, 4u);
  EXPECT_EQ(driver_->text(buffer), std::string("\0\1\2\3", 4));
}

TEST_F(Rng, FillsPartOfALargeBuffer) {
  start();
  driver_->send(0, {driver_->writable(64 * kKiB)});
  EXPECT_EQ(driver_->take(0)->written, VirtioRng::kLargestFill);
}

TEST_F(Rng, ReturnsABufferWithoutRoom) {
  start({.per_second = 1, .burst = 1});
  driver_->send(0, {driver_->readable("no")});
  EXPECT_EQ(driver_->take(0)->written, 0u);
}

TEST_F(Rng, LimitDelaysTheNextBuffer) {
  start({.per_second = 1000, .burst = 64});
  driver_->send(0, {driver_->writable(64)});
  driver_->send(0, {driver_->writable(64)});
  EXPECT_TRUE(driver_->take(0));
  EXPECT_FALSE(driver_->take(0));
  interrupts_.queue_interrupts = 0;
  inputs_.advance(timers_, 63ms);
  EXPECT_FALSE(driver_->take(0));
  inputs_.advance(timers_, 1ms);
  EXPECT_TRUE(driver_->take(0));
}

TEST_F(Rng, LimitSurvivesSaveAndLoad) {
  start({.per_second = 1000, .burst = 64});
  driver_->send(0, {driver_->writable(64)});
  driver_->send(0, {driver_->writable(64)});
  const std::vector<u8> state = save();
  core_->reset();
  ASSERT_TRUE(load(state));
  EXPECT_EQ(save(), state);
  EXPECT_TRUE(driver_->take(0));
  inputs_.advance(timers_, 64ms);
  EXPECT_TRUE(driver_->take(0));
}

TEST_F(Rng, ResetEndsTheWait) {
  start({.per_second = 1, .burst = 1});
  driver_->send(0, {driver_->writable(1)});
  driver_->send(0, {driver_->writable(1)});
  core_->set_status(0);
  EXPECT_EQ(timers_.next_deadline(), Timer::kNever);
}

}  // namespace
}  // namespace doppel
