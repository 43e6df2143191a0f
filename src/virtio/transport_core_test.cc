// Negotiation, reset and state of a virtio device, whatever carries it.
#include "virtio/transport_core.h"

#include "virtio/virtio_fixture.h"

namespace doppel {
namespace {

using namespace virtio_status;

using Transport = VirtioFixture;
INSTANTIATE_TEST_SUITE_P(Formats, Transport, testing::Bool(), ring_name);

constexpr u8 kReady = kAcknowledge | kDriver | kFeaturesOk | kDriverOk;

TEST_P(Transport, NegotiatesAndActivates) {
  ASSERT_TRUE(driver_.start(features()));
  EXPECT_EQ(core_.status(), kReady);
  EXPECT_NE(device_.features() & EchoDevice::kFeature, 0u);
  EXPECT_EQ(device_.features() & kVirtioFRingPacked, ring_format());
}

TEST_P(Transport, RefusesFeaturesThatWereNotOffered) {
  core_.set_status(kAcknowledge | kDriver);
  core_.set_driver_features(0, 1U << 5);
  core_.set_driver_features(1, 1);
  core_.set_status(kAcknowledge | kDriver | kFeaturesOk);
  EXPECT_EQ(core_.status(), kAcknowledge | kDriver);
}

TEST_P(Transport, RefusesDriversWithoutVersion1) {
  core_.set_status(kAcknowledge | kDriver);
  core_.set_status(kAcknowledge | kDriver | kFeaturesOk);
  EXPECT_EQ(core_.status() & kFeaturesOk, 0);
}

TEST_P(Transport, DriverOkNeedsFeaturesOk) {
  core_.set_status(kAcknowledge | kDriver | kDriverOk);
  EXPECT_EQ(core_.status() & kDriverOk, 0);
  EXPECT_EQ(device_.host(), nullptr);
}

TEST_P(Transport, FeaturesAreFixedOnceAccepted) {
  ASSERT_TRUE(driver_.start(features()));
  const u32 accepted = core_.driver_features(0);
  core_.set_driver_features(0, 0);
  EXPECT_EQ(core_.driver_features(0), accepted);
}

TEST_P(Transport, StatusBitsCannotBeCleared) {
  ASSERT_TRUE(driver_.start(features()));
  core_.set_status(kFailed);
  EXPECT_EQ(core_.status(), kReady | kFailed);
}

TEST_P(Transport, DriverCannotSetNeedsReset) {
  core_.set_status(kAcknowledge | kNeedsReset);
  EXPECT_EQ(core_.status(), kAcknowledge);
}

TEST_P(Transport, ResetForgetsEverything) {
  ASSERT_TRUE(driver_.start(features(), 8));
  driver_.send(1, {driver_.readable("x")});
  core_.set_status(0);
  EXPECT_EQ(core_.status(), 0);
  EXPECT_EQ(device_.waiting(), 0u);
  EXPECT_EQ(core_.queue_registers(0)->size, 256);
  EXPECT_FALSE(core_.queue_registers(0)->is_enabled);
  EXPECT_EQ(core_.driver_features(1), 0u);
}

TEST_P(Transport, QueuesCannotChangeWhileEnabled) {
  ASSERT_TRUE(driver_.start(features()));
  EXPECT_EQ(core_.writable_queue_registers(0), nullptr);
}

TEST_P(Transport, QueuesNeedAcceptedFeatures) {
  core_.set_status(kAcknowledge | kDriver);
  core_.enable_queue(0);
  EXPECT_FALSE(core_.queue_registers(0)->is_enabled);
}

TEST_P(Transport, NothingIsConsumedBeforeDriverOk) {
  ASSERT_TRUE(driver_.start(features()));
  driver_.ring(0).add(std::vector{driver_.readable("x")});
  device_.deactivate();
  core_.set_status(0);
  core_.notify(0);
  EXPECT_FALSE(driver_.take(0));
}

TEST_P(Transport, OneQueueIsResetAlone) {
  ASSERT_TRUE(driver_.start(features(), 8));
  driver_.send(1, {driver_.readable("x")});
  core_.reset_queue(1);
  EXPECT_EQ(device_.waiting(), 0u);
  EXPECT_EQ(core_.status(), kReady);
  driver_.send(0, {driver_.readable("x")});
  EXPECT_TRUE(driver_.take(0));
  *core_.writable_queue_registers(1) = {.size = 8, .descriptors = 0x1000, .driver = 0x2000, .device = 0x3000};
  core_.enable_queue(1);
  EXPECT_TRUE(device_.host()->queue(1).is_enabled());
}

TEST_P(Transport, ConfigurationChangesRaiseTheGeneration) {
  core_.notify_config();
  EXPECT_EQ(interrupts_.config_interrupts, 0u);
  ASSERT_TRUE(driver_.start(features()));
  const u8 generation = core_.config_generation();
  core_.notify_config();
  EXPECT_NE(core_.config_generation(), generation);
  EXPECT_EQ(interrupts_.config_interrupts, 1u);
}

TEST_P(Transport, QueuesBeyondTheLastDoNotExist) {
  core_.enable_queue(2);
  core_.reset_queue(2);
  core_.notify(2);
  EXPECT_EQ(core_.max_queue_size(2), 0);
  EXPECT_EQ(core_.queue_registers(2), nullptr);
}

class TransportState : public VirtioFixture {
 protected:
  std::vector<u8> save() {
    StateSaver saver;
    core_.visit_state(saver);
    return saver.take();
  }
  bool load(const std::vector<u8>& state) {
    StateLoader loader(state);
    core_.visit_state(loader);
    return loader.finish().has_value();
  }
};
INSTANTIATE_TEST_SUITE_P(Formats, TransportState, testing::Bool(), ring_name);

TEST_P(TransportState, SavedAndLoadedIsTheSame) {
  ASSERT_TRUE(driver_.start(features(), 8));
  driver_.send(1, {driver_.readable("x"), driver_.writable(3)});
  const std::vector<u8> state = save();
  core_.reset();
  ASSERT_TRUE(load(state));
  EXPECT_EQ(save(), state);
}

TEST_P(TransportState, ChainsInFlightAreAnsweredAfterLoading) {
  ASSERT_TRUE(driver_.start(features(), 8));
  const TestPiece one = driver_.writable(1);
  const u16 first = driver_.send(1, {driver_.readable("1"), one});
  driver_.send(1, {driver_.readable("2"), driver_.readable("3"), driver_.writable(2)});
  device_.answer();  // a packed ring's used element now lies over the first chain's descriptors
  const std::vector<u8> state = save();
  core_.reset();
  ASSERT_TRUE(load(state));
  ASSERT_EQ(device_.waiting(), 1u);
  device_.answer();
  ASSERT_TRUE(driver_.take(1));
  EXPECT_EQ(driver_.take(1)->id, first);
  EXPECT_EQ(driver_.text(one), "1");
}

TEST_P(TransportState, QueuesGoOnAfterLoading) {
  ASSERT_TRUE(driver_.start(features(), 8));
  driver_.send(0, {driver_.readable("x")});
  const std::vector<u8> state = save();
  core_.reset();
  ASSERT_TRUE(load(state));
  const u16 id = driver_.send(0, {driver_.readable("y")});
  ASSERT_TRUE(driver_.take(0));
  EXPECT_EQ(driver_.take(0)->id, id);
}

TEST_P(TransportState, BrokenQueueStaysBroken) {
  ASSERT_TRUE(driver_.start(features(), 8));
  driver_.send(0, {{GuestPhys(4 * kMiB), 1, true}});
  const std::vector<u8> state = save();
  core_.reset();
  ASSERT_TRUE(load(state));
  EXPECT_TRUE(device_.host()->queue(0).is_broken());
  EXPECT_EQ(save(), state);
}

TEST_P(TransportState, EveryFlippedByteIsSurvived) {
  ASSERT_TRUE(driver_.start(features(), 8));
  driver_.send(1, {driver_.readable("x"), driver_.writable(3)});
  const std::vector<u8> state = save();
  for (std::size_t i = 0; i < state.size(); ++i) {
    std::vector<u8> bad = state;
    bad[i] ^= 0xff;
    load(bad);
    core_.notify(0);
    core_.notify(1);
    while (device_.host() != nullptr && device_.waiting() != 0) device_.answer();
  }
  EXPECT_TRUE(load(state));
}

}  // namespace
}  // namespace doppel
