// Tests that the event loop reports descriptors, forgets removed watches and stops.
#include "base/event_loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>

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
