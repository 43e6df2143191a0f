// What every virtio device must do, whatever it is: one suite over the registry and both ring formats.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "devices/virtio_device_fixture.h"
#include "devices/virtio_registry.h"

namespace doppel {
namespace {

// A value of each row's option that needs nothing from the host; a row without one has its own suite.
struct Example {
  std::string_view option;
  std::string_view value;
};
constexpr std::array kExamples = {Example{"--rng", "on,rate=1000"}, Example{"--balloon", "1M"},
                                  Example{"--console", "none"},
                                  Example{"--net", "user,mac=52:54:00:12:34:56"}};

struct Case {
  Example example;
  bool is_packed;
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const Example& example : kExamples) {
    cases.push_back({example, false});
    cases.push_back({example, true});
  }
  return cases;
}

class EveryVirtioDevice : public VirtioDeviceFixture, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    const auto row = std::ranges::find(virtio_rows(), GetParam().example.option, &VirtioRow::option);
    ASSERT_NE(row, virtio_rows().end());
    auto made =
        row->make(GetParam().example.value, {.memory = *memory_, .timers = timers_, .loop = loop_.get()});
    ASSERT_TRUE(made);
    made_ = std::move(*made);
    plug(*made_.device);
    core_->reset();
  }
  void TearDown() override { core_.reset(); }
  bool start() { return driver_->start(GetParam().is_packed ? ~u64{0} : kAllSplitFeatures, 16); }
  void notify_all() {
    for (unsigned queue = 0; queue < core_->queue_count(); ++queue) core_->notify(queue);
  }
  // A buffer with both parts in each queue.
  void send_all() {
    for (unsigned queue = 0; queue < core_->queue_count(); ++queue) {
      driver_->send(queue, {driver_->readable("question"), driver_->writable(32)});
    }
  }
  std::vector<u8> after_reset() {
    core_->reset();
    return save();
  }

  std::mutex lock_;
  std::unique_ptr<EventLoop> loop_ = std::move(*EventLoop::create(lock_));  // not started
  MadeVirtioDevice made_;
};

INSTANTIATE_TEST_SUITE_P(Registry, EveryVirtioDevice, testing::ValuesIn(all_cases()), [](const auto& info) {
  return std::string(info.param.example.option.substr(2)) + (info.param.is_packed ? "Packed" : "Split");
});

TEST_P(EveryVirtioDevice, NegotiatesAgainAndAgain) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(start());
    send_all();
    EXPECT_EQ(core_->status() & virtio_status::kNeedsReset, 0);
  }
}

TEST_P(EveryVirtioDevice, ResetIsPowerOn) {
  const std::vector<u8> fresh = save();
  ASSERT_TRUE(start());
  send_all();
  EXPECT_EQ(after_reset(), fresh);
}

TEST_P(EveryVirtioDevice, NotificationsBeforeTheDriverIsReadyAreIgnored) {
  notify_all();
  core_->set_status(virtio_status::kAcknowledge | virtio_status::kDriver);
  notify_all();
  EXPECT_EQ(interrupts_.queue_interrupts, 0u);
}

TEST_P(EveryVirtioDevice, QueuesTheDriverLeftOutStayUnused) {
  ASSERT_TRUE(start());
  for (unsigned queue = 0; queue < core_->queue_count(); ++queue) core_->reset_queue(queue);
  notify_all();
  inputs_.advance(timers_, std::chrono::seconds(1));
  EXPECT_EQ(core_->broken_queues(), 0u);
}

TEST_P(EveryVirtioDevice, SavedAndLoadedIsTheSame) {
  ASSERT_TRUE(start());
  send_all();
  const std::vector<u8> state = save();
  core_->reset();
  ASSERT_TRUE(load(state));
  EXPECT_EQ(save(), state);
}

TEST_P(EveryVirtioDevice, LoadedStateWorks) {
  ASSERT_TRUE(start());
  const std::vector<u8> state = save();
  core_->reset();
  ASSERT_TRUE(load(state));
  send_all();
  EXPECT_EQ(core_->broken_queues(), 0u);
}

TEST_P(EveryVirtioDevice, ConfigurationHasNoEnd) {
  std::array<u8, 8> bytes = {1, 2, 3, 4, 5, 6, 7, 8};
  core_->write_config(0x1000, bytes);
  core_->read_config(~u64{0} - 100, bytes);
  core_->read_config(0x1000, bytes);
  EXPECT_EQ(load_le(bytes), 0u);
}

TEST_P(EveryVirtioDevice, SurvivesRandomDescriptors) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    ASSERT_TRUE(driver_->start(random(), 16));
    for (unsigned queue = 0; queue < core_->queue_count(); ++queue) {
      std::vector<TestPiece> pieces(1 + random() % 4);
      for (TestPiece& piece : pieces) {
        piece = {GuestPhys(random() % (9 * kMiB)), static_cast<u32>(random() >> (32 + random() % 32)),
                 random() % 2 == 0};
      }
      driver_->send(queue, pieces, random() % 2 == 0);
    }
    inputs_.advance(timers_, std::chrono::milliseconds(1));
    driver_ = std::make_unique<TestDriver>(*memory_, *core_);
  }
}

TEST_P(EveryVirtioDevice, SurvivesDamagedState) {
  ASSERT_TRUE(start());
  send_all();
  const std::vector<u8> state = save();
  for (std::size_t i = 0; i < state.size(); ++i) {
    std::vector<u8> bad = state;
    bad[i] ^= 0x81;
    load(bad);
    notify_all();
  }
  EXPECT_TRUE(load(state));
}

}  // namespace
}  // namespace doppel
