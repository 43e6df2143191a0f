// Tests of recording and replaying: the same frames at the same machine times, and divergence noticed.
#include "net/replay_network.h"

#include <gtest/gtest.h>

#include "base/instruction_inputs.h"
#include "net/net_fakes.h"
#include "net/recording_network.h"
#include "state/state_buffer.h"

namespace doppel {
namespace {

// What stands behind a recorder, in the test's hands.
class Outside final : public NetBackend {
 public:
  const NetLimits& limits() const override { return limits_; }
  bool is_link_up() const override { return true; }
  void set_receiver(NetReceiver* receiver) override { card = receiver; }
  void configure(const NetDriverSettings&) override {}
  void send(unsigned, const NetHeader&, std::span<const iovec>) override { ++sent; }
  void receive_ready(unsigned) override { ++ready; }

  NetReceiver* card = nullptr;
  unsigned sent = 0;
  unsigned ready = 0;

 private:
  NetLimits limits_{.mtu = 1500, .queue_pairs = 4};
};

class ReplayTest : public testing::Test {
 protected:
  ReplayTest() { make_points(); }
  void make_points() {
    points_.emplace(lock_);
    points_->set_on_diverged([this] { ++divergences_; });
  }
  void TearDown() override { std::remove(path_.c_str()); }

  std::unique_ptr<RecordingNetwork> record(NetReceiver& card) {
    auto outside = std::make_unique<Outside>();
    outside_ = outside.get();
    auto network = RecordingNetwork::create(path_, std::move(outside), *points_, time_);
    EXPECT_TRUE(network) << network.error().message;
    (*network)->set_receiver(&card);
    return std::move(*network);
  }
  std::unique_ptr<ReplayNetwork> replay(NetReceiver& card) {
    auto recording = NetRecording::open(path_);
    EXPECT_TRUE(recording) << recording.error().message;
    auto network = std::make_unique<ReplayNetwork>("r", std::move(*recording), *points_, time_);
    network->set_receiver(&card);
    return network;
  }
  void at(i64 instructions) {
    instructions_ = static_cast<u64>(instructions);
    points_->pass(time_.now());
  }
  void restart() {
    instructions_ = 0;
    make_points();
  }
  static void send(NetBackend& network, const std::vector<u8>& frame) {
    const iovec piece{const_cast<u8*>(frame.data()), frame.size()};
    network.send(0, {}, {&piece, 1});
  }
  static std::vector<u8> state(NetBackend& network) {
    StateSaver saver;
    network.visit_state(saver);
    return saver.take();
  }
  // Sends at 7, receives at 20000 what came at 30, has no room, and room at 45000; the cable is pulled.
  std::vector<u8> record_sample(CollectingReceiver& card) {
    const auto network = record(card);
    at(0);
    at(7);
    send(*network, test_frame(60, 1));
    at(30);
    outside_->card->receive(0, {}, test_frame(61, 2));
    outside_->card->receive(0, {}, test_frame(62, 3));
    outside_->card->link_changed(false);
    card.room = 1;
    at(20'000);
    card.room = 10;
    at(45'000);
    network->receive_ready(0);
    return state(*network);
  }

  std::string path_ =
      testing::TempDir() + "doppel_replay_" + std::to_string(testing::UnitTest::GetInstance()->random_seed());
  std::mutex lock_;
  std::unique_lock<std::mutex> held_{lock_};
  u64 instructions_ = 0;
  unsigned divergences_ = 0;
  InstructionInputs time_ = [this] {
    InstructionInputs inputs;
    inputs.set_counter([this] { return instructions_; });
    return inputs;
  }();
  std::optional<InputPoints> points_;
  Outside* outside_ = nullptr;
};

TEST_F(ReplayTest, FramesWaitForAnInputPoint) {
  CollectingReceiver card;
  const auto network = record(card);
  at(0);
  outside_->card->receive(0, {}, test_frame(60, 1));
  at(19'999);
  EXPECT_TRUE(card.frames.empty());
  at(20'000);
  EXPECT_EQ(card.frames.size(), 1u);
  EXPECT_EQ(outside_->ready, 1u);
}

TEST_F(ReplayTest, TheCardSpreadsFramesItself) {
  CollectingReceiver card;
  EXPECT_EQ(record(card)->limits().queue_pairs, 1u);
}

TEST_F(ReplayTest, WhatWaitsHasALimit) {
  CollectingReceiver card;
  const auto network = record(card);
  unsigned taken = 0;
  while (taken < 100 && outside_->card->receive(0, {}, test_frame(60'000, 1))) ++taken;
  EXPECT_EQ(taken, 17u);  // 1 MiB
}

TEST_F(ReplayTest, AReplayIsTheSame) {
  CollectingReceiver first;
  const std::vector<u8> recorded = record_sample(first);
  restart();
  CollectingReceiver second;
  const auto network = replay(second);
  at(0);
  at(7);
  send(*network, test_frame(60, 1));
  EXPECT_TRUE(second.frames.empty());
  second.room = 1;
  at(20'000);
  EXPECT_EQ(second.frames.size(), 1u);
  EXPECT_FALSE(network->is_link_up());
  second.room = 10;
  at(45'000);
  network->receive_ready(0);
  EXPECT_EQ(second.frames, first.frames);
  EXPECT_EQ(second.link_changes, 1u);
  EXPECT_EQ(state(*network), recorded);
  EXPECT_EQ(divergences_, 0u);
}

TEST_F(ReplayTest, AnIdleMachineMovesOnToTheNextInput) {
  CollectingReceiver card;
  record_sample(card);
  restart();
  const auto network = replay(card);
  at(0);
  const auto never = [] { return false; };
  EXPECT_EQ(points_->idle_until(held_, Nanoseconds(100), Timer::kNever, never), Nanoseconds(20'000));
  EXPECT_EQ(points_->idle_until(held_, Nanoseconds(100), Nanoseconds(300), never), Nanoseconds(300));
  at(20'000);
  EXPECT_EQ(points_->idle_until(held_, Nanoseconds(20'000), Timer::kNever, never), Timer::kNever);
}

TEST_F(ReplayTest, AnIdleMachineWaitsForALiveNetwork) {
  CollectingReceiver card;
  const auto network = record(card);
  at(0);
  const auto never = [] { return false; };
  EXPECT_EQ(points_->idle_until(held_, Nanoseconds(10), Nanoseconds(1'000'010), never),
            Nanoseconds(1'000'010));
  outside_->card->receive(0, {}, test_frame(60, 1));
  const Nanoseconds soon = points_->idle_until(held_, Nanoseconds(10), Timer::kNever, never);
  EXPECT_GT(soon, Nanoseconds(10));
  EXPECT_LT(soon, std::chrono::seconds(60));
}

TEST_F(ReplayTest, AnotherFrameIsADivergence) {
  CollectingReceiver card;
  record_sample(card);
  restart();
  const auto network = replay(card);
  at(0);
  at(7);
  send(*network, test_frame(60, 9));
  EXPECT_EQ(divergences_, 1u);
}

TEST_F(ReplayTest, AnotherTimeIsADivergence) {
  CollectingReceiver card;
  record_sample(card);
  restart();
  const auto network = replay(card);
  at(0);
  at(8);
  send(*network, test_frame(60, 1));
  EXPECT_EQ(divergences_, 1u);
}

TEST_F(ReplayTest, AMissingFrameIsADivergence) {
  CollectingReceiver card;
  record_sample(card);
  restart();
  const auto network = replay(card);
  at(0);
  at(20'000);
  at(40'000);
  EXPECT_EQ(divergences_, 1u);
}

TEST_F(ReplayTest, AFrameMoreIsADivergence) {
  CollectingReceiver card;
  record_sample(card);
  restart();
  const auto network = replay(card);
  at(0);
  at(7);
  send(*network, test_frame(60, 1));
  send(*network, test_frame(60, 1));
  EXPECT_EQ(divergences_, 1u);
}

TEST_F(ReplayTest, AReplayGoesOnFromASavedState) {
  CollectingReceiver first;
  record_sample(first);
  restart();
  CollectingReceiver second;
  std::vector<u8> saved;
  {
    const auto network = replay(second);
    at(0);
    at(7);
    send(*network, test_frame(60, 1));
    second.room = 1;
    at(20'000);
    saved = state(*network);
  }
  CollectingReceiver third;
  const auto network = replay(third);
  StateLoader loader(saved);
  network->visit_state(loader);
  ASSERT_TRUE(loader.finish());
  network->receive_ready(0);
  ASSERT_EQ(third.frames.size(), 1u);
  EXPECT_EQ(third.frames[0], first.frames[1]);
  EXPECT_FALSE(network->is_link_up());
}

TEST_F(ReplayTest, AStateOfAnotherRecordingIsRefused) {
  CollectingReceiver card;
  const std::vector<u8> saved = record_sample(card);
  restart();
  {
    const auto network = record(card);
  }
  const auto network = replay(card);
  StateLoader loader(saved);
  network->visit_state(loader);
  EXPECT_FALSE(loader.finish());
}

}  // namespace
}  // namespace doppel
