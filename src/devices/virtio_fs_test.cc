// Tests of the shared directory's device with a daemon in the test's hands.
#include "devices/virtio_fs.h"

#include <gtest/gtest.h>

#include "devices/virtio_device_fixture.h"
#include "fuzz/vhost_peer.h"

namespace doppel {
namespace {

constexpr unsigned kRequests = 1;  // the queue

class VirtioFsTest : public VirtioDeviceFixture {
 protected:
  VirtioFsTest() {
    auto daemon = VhostUser::over("test", peer_.client());
    EXPECT_TRUE(daemon) << daemon.error().message;
    device_ = std::move(*VirtioFs::create("tag", std::move(*daemon), *memory_, *loop_));
    plug(*device_);
    core_->reset();
    EXPECT_TRUE(driver_->start(kAllSplitFeatures, 16));
  }
  ~VirtioFsTest() override { core_.reset(); }

  TestPiece send() {
    const TestPiece answer = driver_->writable(16);
    driver_->send(kRequests, {driver_->readable(std::string(40, 'q')), answer});
    return answer;
  }
  void run_loop() {
    const std::lock_guard held(lock_);
    loop_->dispatch_ready();
  }

  std::mutex lock_;
  std::unique_ptr<EventLoop> loop_ = std::move(*EventLoop::create(lock_));  // not started
  fuzz::VhostPeer peer_{{.features = u64{1} << 32 | u64{1} << 30}};
  std::unique_ptr<VirtioFs> device_;
};

TEST_F(VirtioFsTest, TheDaemonAnswersRequests) {
  send();
  peer_.complete_all(16);
  run_loop();
  EXPECT_EQ(driver_->take(kRequests)->written, 16u);
}

TEST_F(VirtioFsTest, AResetQueueHasNothingInFlight) {
  send();
  core_->reset_queue(kRequests);
  EXPECT_TRUE(load(save()));
}

TEST_F(VirtioFsTest, AnswersToAResetQueueAreNoDamage) {
  send();
  core_->reset_queue(kRequests);
  peer_.complete_all(16);
  run_loop();
  EXPECT_EQ(driver_->take(kRequests), std::nullopt);
  EXPECT_EQ(core_->broken_queues(), 0u);
}

TEST_F(VirtioFsTest, AResetQueueWorksAgain) {
  send();
  core_->reset_queue(kRequests);
  EXPECT_TRUE(driver_->start(kAllSplitFeatures, 16));
  send();
  peer_.complete_all(16);
  run_loop();
  EXPECT_EQ(driver_->take(kRequests)->written, 16u);
}

TEST_F(VirtioFsTest, AQueueThatIsEnabledAgainWorks) {
  core_->reset_queue(kRequests);
  driver_->setup_queue(kRequests);
  send();
  peer_.complete_all(16);
  run_loop();
  EXPECT_EQ(driver_->take(kRequests)->written, 16u);
}

TEST_F(VirtioFsTest, RequestsInFlightAreStateUntilResumed) {
  send();
  const std::vector<u8> state = save();
  ASSERT_TRUE(load(state));
  EXPECT_EQ(save(), state);
}

TEST_F(VirtioFsTest, RequestsInFlightElsewhereAreAnsweredWithAnError) {
  const TestPiece answer = send();
  ASSERT_TRUE(load(save()));
  core_->resume();
  EXPECT_EQ(driver_->take(kRequests)->written, 16u);
  EXPECT_EQ(driver_->text(answer).substr(0, 8),
            std::string("\x10\0\0\0\xfb\xff\xff\xff", 8));  // 16 bytes, -EIO
}

}  // namespace
}  // namespace doppel
