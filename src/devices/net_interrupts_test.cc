// Tests of the network card's interrupts: how many, and which may wait for what.
#include "devices/net_interrupts.h"

#include "devices/virtio_net_fixture.h"

namespace doppel {
namespace {

using namespace std::chrono_literals;

class NetInterruptsTest : public VirtioNetFixture {
 protected:
  static constexpr unsigned kReceive = 0;
  static constexpr unsigned kSend = 1;

  // A driver with free receive buffers whose frames are answered at once with `size` bytes; it wants to hear
  // of the next used buffer of each queue.
  bool start_answered(std::size_t size, u16 queue_size = 64) {
    if (!start(kEvery, queue_size)) return false;
    for (int i = 0; i < 9; ++i) offer_buffer(2000);
    // The first used buffer of a queue always interrupts.
    send_small();
    receive(frame(60));
    take_all(kReceive);
    take_all(kSend);
    interrupts_.queues.clear();
    backend_->frames.clear();
    backend_->answer = frame(size);
    return true;
  }
  // What drivers do when they are interrupted: take all there is of a queue, and ask for the next.
  void take_all(unsigned queue) {
    while (driver_->take(queue)) {
    }
    driver_->ring(queue).interrupt_after(1);
  }
  void add_small() {
    driver_->ring(kSend).add(
        std::array{driver_->readable_value(NetHeader{}), driver_->readable(std::string(60, 'a'))});
  }
  void send_small() { send({}, std::string(60, 'a')); }
  void send_bulk() { send({}, std::string(8000, 'a')); }
  std::vector<unsigned> interrupted() const { return interrupts_.queues; }
};

using Queues = std::vector<unsigned>;

TEST_P(NetInterruptsTest, SentFramesInterruptAtOnceWhenNothingAnswers) {
  ASSERT_TRUE(start());
  send_small();
  EXPECT_EQ(interrupted(), Queues{kSend});
}

TEST_P(NetInterruptsTest, AnswersToARunInterruptOnceAndFirst) {
  ASSERT_TRUE(start_answered(60));
  add_small();
  add_small();
  driver_->kick(kSend);
  EXPECT_EQ(backend_->frames.size(), 2u);
  EXPECT_EQ(interrupted(), Queues{kReceive});
}

TEST_P(NetInterruptsTest, AnsweredFramesDoNotInterruptADriverThatHasTakenThem) {
  ASSERT_TRUE(start_answered(60));
  send_small();
  take_all(kReceive);
  take_all(kSend);
  inputs_.advance(timers_, 1s);
  EXPECT_EQ(interrupted(), Queues{kReceive});
}

TEST_P(NetInterruptsTest, AnsweredFramesInterruptADriverThatHasNotTakenThemInTime) {
  ASSERT_TRUE(start_answered(60));
  send_small();
  inputs_.advance(timers_, NetInterrupts::kSentDelay - 1ns);
  EXPECT_EQ(interrupted(), Queues{kReceive});
  inputs_.advance(timers_, 1ns);
  EXPECT_EQ(interrupted(), (Queues{kReceive, kSend}));
}

TEST_P(NetInterruptsTest, AnsweredFramesInterruptADriverThatSendsWithoutHavingTakenThem) {
  ASSERT_TRUE(start_answered(60));
  send_small();
  backend_->answer.clear();
  driver_->ring(kReceive).set_interrupts(true);
  send_small();
  EXPECT_EQ(interrupted()[1], kSend);
}

TEST_P(NetInterruptsTest, ADriverThatHasFilledHalfTheQueueHearsOfItAtOnce) {
  ASSERT_TRUE(start_answered(60, 16));
  for (int i = 0; i < 4; ++i) add_small();
  driver_->kick(kSend);
  EXPECT_EQ(interrupted(), Queues{kReceive});
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver_->take(kSend));
  driver_->ring(kSend).interrupt_after(1);
  interrupts_.queues.clear();
  for (int i = 0; i < 8; ++i) driver_->ring(kSend).add(std::array{driver_->readable("short")});
  backend_->receiver().receive(0, {}, backend_->answer);
  driver_->kick(kSend);
  EXPECT_EQ(interrupted(), Queues{kSend});
}

TEST_P(NetInterruptsTest, AnswersToBulkWaitForMoreOfThem) {
  ASSERT_TRUE(start_answered(60));
  send_bulk();
  inputs_.advance(timers_, NetInterrupts::kAnswerDelay - 1ns);
  send_bulk();
  EXPECT_EQ(std::ranges::count(interrupted(), kReceive), 0);
  inputs_.advance(timers_, 1ns);
  EXPECT_EQ(std::ranges::count(interrupted(), kReceive), 1);
  EXPECT_TRUE(driver_->take(kReceive));
  EXPECT_TRUE(driver_->take(kReceive));
}

TEST_P(NetInterruptsTest, AnswersToBulkGoWithWhatArrivesFromOutside) {
  ASSERT_TRUE(start_answered(60));
  send_bulk();
  backend_->receiver().receive_done();
  EXPECT_EQ(interrupted(), Queues{});
  ASSERT_TRUE(receive(frame(60)));
  EXPECT_EQ(interrupted(), Queues{kReceive});
}

TEST_P(NetInterruptsTest, AnswersToBulkDoNotWaitWhenTheBuffersEnd) {
  ASSERT_TRUE(start_answered(60));
  for (int i = 0; i < 8; ++i) send_bulk();
  EXPECT_EQ(std::ranges::count(interrupted(), kReceive), 0);
  send_bulk();
  EXPECT_EQ(std::ranges::count(interrupted(), kReceive), 1);
}

TEST_P(NetInterruptsTest, AtRestAnswersInterruptAndThenTheSentFramesIfStillWanted) {
  ASSERT_TRUE(start_answered(60));
  send_bulk();
  timers_.run_at_rest();
  EXPECT_EQ(interrupted(), Queues{kReceive});
  timers_.run_at_rest();
  EXPECT_EQ(interrupted(), (Queues{kReceive, kSend}));
}

TEST_P(NetInterruptsTest, AReceiverThatIsInterruptedDoesNotPutOffSentFramesForLonger) {
  ASSERT_TRUE(start_answered(60));
  send_small();
  inputs_.advance(timers_, NetInterrupts::kSentDelay - 1ns);
  take_all(kReceive);
  ASSERT_TRUE(receive(frame(60)));
  inputs_.advance(timers_, 1ns);
  EXPECT_EQ(interrupted(), (Queues{kReceive, kReceive, kSend}));
}

TEST_P(NetInterruptsTest, WhatWaitsIsToldAfterLoading) {
  ASSERT_TRUE(start_answered(60));
  send_bulk();
  StateSaver saver;
  core_->visit_state(saver);
  const std::vector<u8> saved = saver.take();
  core_->reset();
  inputs_.advance(timers_, NetInterrupts::kAnswerDelay - 1ns);
  StateLoader loader(saved);
  core_->visit_state(loader);
  ASSERT_TRUE(loader.finish());
  EXPECT_EQ(interrupted(), Queues{});
  inputs_.advance(timers_, NetInterrupts::kSentDelay);
  EXPECT_EQ(interrupted(), (Queues{kReceive, kSend}));
}

TEST_P(NetInterruptsTest, OfAQueueThatWasResetNothingIsTold) {
  ASSERT_TRUE(start_answered(60));
  send_bulk();
  core_->reset_queue(kReceive);
  inputs_.advance(timers_, 1s);
  EXPECT_EQ(interrupted(), Queues{kSend});
}

INSTANTIATE_TEST_SUITE_P(Rings, NetInterruptsTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

}  // namespace
}  // namespace doppel
