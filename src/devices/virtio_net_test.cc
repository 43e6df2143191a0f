// Tests of the network card: transfer, negotiation, limits, state.
#include "devices/virtio_net_fixture.h"

namespace doppel {
namespace {

using namespace virtio_net;

using VirtioNetTest = VirtioNetFixture;

TEST_P(VirtioNetTest, SendsFramesWithoutTheirHeaders) {
  ASSERT_TRUE(start());
  send({}, std::string(60, 'a'));
  send({}, std::string(61, 'b'));
  ASSERT_EQ(backend_->frames.size(), 2u);
  EXPECT_EQ(backend_->frames[1], std::string(61, 'b'));
  EXPECT_TRUE(driver_->take(1));
  EXPECT_EQ(card_->sent().frames, 2u);
  EXPECT_EQ(card_->sent().bytes, 121u);
}

TEST_P(VirtioNetTest, OneNotificationAnswersARunOfFrames) {
  ASSERT_TRUE(start());
  for (int i = 0; i < 10; ++i) {
    driver_->ring(1).add(
        std::array{driver_->readable_value(NetHeader{}), driver_->readable(std::string(60, 'a'))});
  }
  driver_->kick(1);
  EXPECT_EQ(backend_->frames.size(), 10u);
  EXPECT_EQ(interrupts_.queue_interrupts, 1u);
}

TEST_P(VirtioNetTest, ReceivesIntoOneBuffer) {
  ASSERT_TRUE(start());
  const TestPiece buffer = offer_buffer(2000);
  ASSERT_TRUE(receive(frame(1000, 7), {.flags = NetHeader::kDataValid}));
  EXPECT_EQ(driver_->take(0)->written, 1012u);
  EXPECT_EQ(header_in(buffer).buffer_count, 1);
  EXPECT_EQ(header_in(buffer).flags, NetHeader::kDataValid);
  EXPECT_EQ(driver_->text(buffer.address + 12 + 6, 994), std::string(994, 7));
}

TEST_P(VirtioNetTest, CountsTheBytesThatItAndItsBackEndCopy) {
  ASSERT_TRUE(start());
  backend_->copied = 5;
  offer_buffer(2000);
  ASSERT_TRUE(receive(frame(1000)));
  send({}, std::string(60, 'a'));
  const std::pair<std::string_view, u64> copied("copied_bytes", 1005);
  EXPECT_EQ(card_->counter_values().back(), copied);
}

TEST_P(VirtioNetTest, MergesBuffersForALargeFrame) {
  ASSERT_TRUE(start());
  const TestPiece first = offer_buffer(100);
  const TestPiece second = offer_buffer(100);
  const TestPiece third = offer_buffer(100);
  ASSERT_TRUE(receive(frame(200, 8)));
  EXPECT_EQ(header_in(first).buffer_count, 3);
  EXPECT_EQ(driver_->take(0)->written, 100u);
  EXPECT_EQ(driver_->take(0)->written, 100u);
  EXPECT_EQ(driver_->take(0)->written, 12u);
  EXPECT_EQ(driver_->text(second), std::string(100, 8));
  EXPECT_EQ(driver_->text(third.address, 12), std::string(12, 8));
}

TEST_P(VirtioNetTest, RefusesAFrameUntilThereAreBuffers) {
  ASSERT_TRUE(start());
  offer_buffer(100);
  EXPECT_FALSE(receive(frame(150)));
  EXPECT_FALSE(driver_->take(0));
  offer_buffer(100);
  EXPECT_GT(backend_->ready_calls, 0u);
  EXPECT_TRUE(receive(frame(150)));
  EXPECT_EQ(card_->received().drops, 0u);
}

TEST_P(VirtioNetTest, DropsAFrameThatNoBufferOfTheDriverCanHold) {
  ASSERT_TRUE(start(kEvery & ~kMergeableBuffers));
  offer_buffer(100);
  EXPECT_TRUE(receive(frame(150)));
  EXPECT_FALSE(driver_->take(0));
  EXPECT_EQ(card_->received().drops, 1u);
  EXPECT_TRUE(receive(frame(80)));
  EXPECT_TRUE(driver_->take(0));
}

TEST_P(VirtioNetTest, DropsAFrameThatAFullRingCannotHold) {
  ASSERT_TRUE(start(kEvery, 4));
  for (int i = 0; i < 4; ++i) offer_buffer(100);
  EXPECT_TRUE(receive(frame(1000)));
  EXPECT_EQ(card_->received().drops, 1u);
  EXPECT_TRUE(receive(frame(300)));
}

TEST_P(VirtioNetTest, DropsWhatArrivesBeforeADriverIsThere) {
  EXPECT_TRUE(receive(frame(100)));
  EXPECT_EQ(card_->received().drops, 1u);
}

TEST_P(VirtioNetTest, PassesOnlyNegotiatedOffloads) {
  ASSERT_TRUE(start(kEvery & ~kHostTso6));
  send({.flags = 1, .gso_type = NetHeader::kGsoTcp4, .gso_size = 1400, .checksum_start = 34},
       std::string(99, 'a'));
  send({.flags = 1, .gso_type = NetHeader::kGsoTcp6, .gso_size = 1400, .checksum_start = 34},
       std::string(99, 'a'));
  send({.flags = 0xff, .gso_type = 0x77, .buffer_count = 5}, std::string(99, 'a'));
  ASSERT_EQ(backend_->headers.size(), 3u);
  EXPECT_EQ(backend_->headers[0].gso_size, 1400);
  EXPECT_EQ(backend_->headers[1].gso_type, NetHeader::kGsoNone);
  EXPECT_EQ(backend_->headers[2].flags, NetHeader::kNeedsChecksum);
  EXPECT_EQ(backend_->headers[2].buffer_count, 0);
}

TEST_P(VirtioNetTest, DropsFramesOfImpossibleSizes) {
  ASSERT_TRUE(start());
  send({}, "");
  send({}, std::string(13, 'a'));
  driver_->send(1, {driver_->readable("short")});
  driver_->send(1, {driver_->writable(100)});
  send({}, std::string(kMaxFrameSize + 1, 'a'));
  EXPECT_EQ(backend_->frames.size(), 0u);
  EXPECT_EQ(card_->sent().drops, 5u);
  send({}, std::string(kMaxFrameSize, 'a'));
  EXPECT_EQ(backend_->frames.size(), 1u);
}

TEST_P(VirtioNetTest, ShowsItsConfiguration) {
  ASSERT_TRUE(start());
  EXPECT_EQ(config<MacAddress>(0), kMacAddress);
  EXPECT_EQ(config<u16>(6), kStatusLinkUp);
  EXPECT_EQ(config<u16>(8), 1);
  EXPECT_EQ(config<u16>(10), 9000);
  EXPECT_EQ(config<u32>(12), 0u);
}

TEST_P(VirtioNetTest, OffersOnlyWhatTheBackEndCan) {
  offered_ = {};
  make({.mac = kMacAddress});
  const u64 offered = card_->device_features();
  EXPECT_EQ(offered & (kChecksum | kGuestChecksum | kHostTso4 | kGuestTso4 | kMtu | kMultiQueue), 0u);
  backend_->offered.from_guest = {.checksum = true, .tso4 = true};
  EXPECT_EQ(card_->device_features() & (kChecksum | kHostTso4 | kHostTso6), kChecksum | kHostTso4);
}

TEST_P(VirtioNetTest, TellsTheBackEndWhatTheDriverAccepted) {
  ASSERT_TRUE(start(kEvery & ~kGuestTso6));
  EXPECT_TRUE(backend_->driver.offloads.tso4);
  EXPECT_FALSE(backend_->driver.offloads.tso6);
  ASSERT_TRUE(start(kEvery & ~kGuestChecksum));
  EXPECT_EQ(backend_->driver.offloads, NetOffloads{});
}

TEST_P(VirtioNetTest, TellsTheDriverOfTheLink) {
  ASSERT_TRUE(start());
  backend_->is_up = false;
  backend_->receiver().link_changed(false);
  EXPECT_EQ(interrupts_.config_interrupts, 1u);
  EXPECT_EQ(config<u16>(6), 0);
  send({}, std::string(60, 'a'));
  EXPECT_EQ(card_->sent().drops, 1u);
}

TEST_P(VirtioNetTest, LimitsTheRateOfSending) {
  make({.mac = kMacAddress, .send_limit = {.per_second = 1000, .burst = 100}});
  ASSERT_TRUE(start());
  send({}, std::string(70, 'a'));
  send({}, std::string(70, 'b'));
  EXPECT_EQ(backend_->frames.size(), 1u);
  inputs_.advance(timers_, std::chrono::milliseconds(63));
  EXPECT_EQ(backend_->frames.size(), 1u);
  inputs_.advance(timers_, std::chrono::milliseconds(1));
  EXPECT_EQ(backend_->frames.size(), 2u);  // 2 x 82 bytes with headers: 64 more than the burst
}

TEST_P(VirtioNetTest, ALimitGoesOnAfterLoading) {
  make({.mac = kMacAddress, .send_limit = {.per_second = 1000, .burst = 100}});
  ASSERT_TRUE(start());
  send({}, std::string(70, 'a'));
  send({}, std::string(70, 'b'));
  StateSaver saver;
  core_->visit_state(saver);
  const std::vector<u8> saved = saver.take();
  core_->reset();
  StateLoader loader(saved);
  core_->visit_state(loader);
  ASSERT_TRUE(loader.finish());
  inputs_.advance(timers_, std::chrono::milliseconds(64));
  EXPECT_EQ(backend_->frames.size(), 2u);
}

TEST_P(VirtioNetTest, LimitsTheRateOfReceiving) {
  make({.mac = kMacAddress, .receive_limit = {.per_second = 1000, .burst = 100}});
  ASSERT_TRUE(start());
  offer_buffer(200);
  offer_buffer(200);
  EXPECT_TRUE(receive(frame(100)));
  EXPECT_FALSE(receive(frame(100)));
  backend_->ready_calls = 0;
  inputs_.advance(timers_, std::chrono::milliseconds(100));
  EXPECT_EQ(backend_->ready_calls, 1u);
  EXPECT_TRUE(receive(frame(100)));
}

TEST_P(VirtioNetTest, StateComesBack) {
  make({.mac = kMacAddress, .queue_pairs = 2});
  ASSERT_TRUE(start());
  ASSERT_EQ(command(kClassMultiQueue, 0, {"\2\0", 2}, 4), kAnswerOk);
  ASSERT_EQ(command(kClassMac, kMacAddressSet, "\x52\x54\x09\x09\x09\x09", 4), kAnswerOk);
  StateSaver saver;
  core_->visit_state(saver);
  const std::vector<u8> saved = saver.take();
  core_->reset();
  EXPECT_EQ(config<MacAddress>(0), kMacAddress);
  StateLoader loader(saved);
  core_->visit_state(loader);
  ASSERT_TRUE(loader.finish());
  StateSaver again;
  core_->visit_state(again);
  EXPECT_EQ(again.take(), saved);
  EXPECT_EQ(backend_->driver.queue_pairs, 2u);
  EXPECT_TRUE(backend_->driver.offloads.tso4);
}

TEST_P(VirtioNetTest, AnnouncesItselfAfterARestore) {
  ASSERT_TRUE(start());
  StateSaver saver;
  core_->visit_state(saver);
  const std::vector<u8> saved = saver.take();
  StateLoader loader(saved);
  core_->visit_state(loader);
  card_->resume();
  EXPECT_EQ(interrupts_.config_interrupts, 1u);
  EXPECT_EQ(config<u16>(6), kStatusLinkUp | kStatusAnnounce);
  EXPECT_EQ(command(kClassAnnounce, 0, ""), kAnswerOk);
  EXPECT_EQ(config<u16>(6), kStatusLinkUp);
  card_->resume();
  EXPECT_EQ(config<u16>(6), kStatusLinkUp);
}

TEST_P(VirtioNetTest, WhilePausedFramesWaitOutside) {
  ASSERT_TRUE(start());
  offer_buffer(200);
  card_->pause();
  EXPECT_FALSE(receive(frame(100)));
  backend_->ready_calls = 0;
  card_->resume();
  EXPECT_EQ(backend_->ready_calls, 1u);
  EXPECT_TRUE(receive(frame(100)));
}

TEST_P(VirtioNetTest, OneQueueIsResetWhileTheOthersGoOn) {
  ASSERT_TRUE(start());
  ASSERT_TRUE(core_->has_ring_reset());
  offer_buffer(200);
  core_->reset_queue(0);
  EXPECT_TRUE(receive(frame(100)));
  EXPECT_EQ(card_->received().drops, 1u);
  send({}, std::string(60, 'a'));
  EXPECT_EQ(backend_->frames.size(), 1u);
  EXPECT_TRUE(driver_->take(1));
  driver_->setup_queue_again(0);
  const TestPiece buffer = offer_buffer(200);
  EXPECT_TRUE(receive(frame(100, 9)));
  EXPECT_EQ(driver_->take(0)->written, 112u);
  EXPECT_EQ(driver_->text(buffer.address + 12 + 6, 94), std::string(94, 9));
  EXPECT_EQ(core_->broken_queues(), 0u);
}

TEST_P(VirtioNetTest, AQueueForSendingIsResetAlone) {
  ASSERT_TRUE(start());
  driver_->ring(1).add(
      std::array{driver_->readable_value(NetHeader{}), driver_->readable(std::string(60, 'a'))});
  core_->reset_queue(1);
  core_->notify(1);
  EXPECT_EQ(backend_->frames.size(), 0u);
  offer_buffer(200);
  EXPECT_TRUE(receive(frame(100)));
  EXPECT_TRUE(driver_->take(0));
  driver_->setup_queue_again(1);
  send({}, std::string(60, 'b'));
  EXPECT_EQ(backend_->frames, std::vector{std::string(60, 'b')});
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtioNetTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

}  // namespace
}  // namespace doppel
