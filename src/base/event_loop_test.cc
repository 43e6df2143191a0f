// Tests that the event loop reports descriptors, forgets removed watches and stops.
#include "base/event_loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <utility>

namespace doppel {
namespace {

struct EventLoopTest : testing::Test {
  void SetUp() override {
    loop = std::move(*EventLoop::create(lock));
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    read_end = UniqueFd(fds[0]);
    write_end = UniqueFd(fds[1]);
    loop->start();
  }
  void TearDown() override { loop->stop(); }

  void take_byte() {
    char byte;
    ASSERT_EQ(::read(read_end.get(), &byte, 1), 1);
    ++seen;
    changed.notify_all();
  }
  bool wait_for(int count) {
    std::unique_lock held(lock);
    return changed.wait_for(held, std::chrono::seconds(10), [&] { return seen >= count; });
  }

  std::mutex lock;
  std::condition_variable changed;
  int seen = 0;
  UniqueFd read_end;
  UniqueFd write_end;
  std::unique_ptr<EventLoop> loop;
};

TEST_F(EventLoopTest, CallsBackWhenADescriptorIsReady) {
  std::unique_ptr<FdWatch> watch;
  {
    const std::lock_guard held(lock);
    watch = std::make_unique<FdWatch>(*loop, read_end.get(), POLLIN, [&](short) { take_byte(); });
  }
  ASSERT_EQ(::write(write_end.get(), "ab", 2), 2);
  EXPECT_TRUE(wait_for(2));
  const std::lock_guard held(lock);
  watch.reset();
}

TEST_F(EventLoopTest, AWatchMayGoInItsOwnCallback) {
  std::unique_ptr<FdWatch> watch;
  {
    const std::lock_guard held(lock);
    watch = std::make_unique<FdWatch>(*loop, read_end.get(), POLLIN, [&](short) {
      take_byte();
      watch = nullptr;
    });
  }
  ASSERT_EQ(::write(write_end.get(), "ab", 2), 2);
  EXPECT_TRUE(wait_for(1));
  loop->stop();
  EXPECT_EQ(seen, 1);
}

TEST_F(EventLoopTest, StopsAndStartsAgain) {
  loop->stop();
  loop->start();
  std::unique_ptr<FdWatch> watch;
  {
    const std::lock_guard held(lock);
    watch = std::make_unique<FdWatch>(*loop, read_end.get(), POLLIN, [&](short) { take_byte(); });
  }
  ASSERT_EQ(::write(write_end.get(), "a", 1), 1);
  EXPECT_TRUE(wait_for(1));
  const std::lock_guard held(lock);
  watch.reset();
}

// Ready whenever a flag says so; the descriptor is none.
class FlagPoller final : public Poller {
 public:
  int prepare(std::vector<pollfd>& waits) override {
    waits.push_back({-1, POLLIN, 0});
    return -1;
  }
  void dispatch(std::span<const pollfd>) override {}
  void set_polled(bool is_polled) override { is_polled_ = is_polled; }
  bool poll() override {
    if (!std::exchange(is_ready, false)) return false;
    ++calls;
    return true;
  }
  bool is_polled() const { return is_polled_; }

  bool is_ready = false;
  int calls = 0;

 private:
  bool is_polled_ = false;
};

TEST_F(EventLoopTest, IsPolledBetweenBeginAndEnd) {
  const std::lock_guard held(lock);
  FlagPoller early;
  FlagPoller late;
  loop->add(early);
  loop->begin_polling();
  loop->add(late);
  EXPECT_TRUE(early.is_polled());
  EXPECT_TRUE(late.is_polled());
  EXPECT_FALSE(loop->poll());
  early.is_ready = late.is_ready = true;
  EXPECT_TRUE(loop->poll());
  EXPECT_EQ(early.calls + late.calls, 2);
  EXPECT_FALSE(loop->end_polling());
  EXPECT_FALSE(early.is_polled());
  EXPECT_FALSE(late.is_polled());
  loop->remove(early);
  loop->remove(late);
}

TEST_F(EventLoopTest, TheEndOfPollingFindsWhatCameBeforeIt) {
  const std::lock_guard held(lock);
  FlagPoller poller;
  loop->add(poller);
  loop->begin_polling();
  poller.is_ready = true;
  EXPECT_TRUE(loop->end_polling());
  EXPECT_EQ(poller.calls, 1);
  loop->remove(poller);
}

TEST(EventLoopByHand, RunsWhatIsReadyAndDoesNotWait) {
  std::mutex lock;
  const std::unique_lock held(lock);
  const auto loop = std::move(*EventLoop::create(lock));
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  const UniqueFd read_end(fds[0]);
  const UniqueFd write_end(fds[1]);
  int calls = 0;
  const FdWatch watch(*loop, read_end.get(), POLLIN, [&](short) { ++calls; });
  loop->dispatch_ready();
  EXPECT_EQ(calls, 0);
  ASSERT_EQ(::write(write_end.get(), "x", 1), 1);
  loop->dispatch_ready();
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace doppel
