// The timer queue: order, re-arming, disarming, bounds.
#include "base/timer_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/fake_inputs.h"

namespace doppel {
namespace {

using namespace std::chrono_literals;

// A queue and a record of who fired.
struct Bench {
  FakeInputs inputs;
  TimerQueue queue{inputs};
  std::string fired;
  Timer a{queue, [this] { fired += 'a'; }};
  Timer b{queue, [this] { fired += 'b'; }};
  Timer c{queue, [this] { fired += 'c'; }};
};

TEST(TimerQueue, HasNoDeadlineWhenNothingIsArmed) {
  Bench bench;
  EXPECT_EQ(bench.queue.next_deadline(), Timer::kNever);
  EXPECT_FALSE(bench.a.is_armed());
}

TEST(TimerQueue, FiresInDeadlineOrderNotInArmingOrder) {
  Bench bench;
  bench.a.arm(30ns);
  bench.b.arm(10ns);
  bench.c.arm(20ns);
  EXPECT_EQ(bench.queue.next_deadline(), 10ns);
  bench.queue.run_expired(30ns);
  EXPECT_EQ(bench.fired, "bca");
}

TEST(TimerQueue, FiresEqualDeadlinesInArmingOrder) {
  Bench bench;
  bench.c.arm(10ns);
  bench.a.arm(10ns);
  bench.b.arm(10ns);
  bench.queue.run_expired(10ns);
  EXPECT_EQ(bench.fired, "cab");
}

TEST(TimerQueue, PutsATimerArmedAgainBehindItsEquals) {
  Bench bench;
  bench.a.arm(10ns);
  bench.b.arm(10ns);
  bench.a.arm(10ns);
  bench.queue.run_expired(10ns);
  EXPECT_EQ(bench.fired, "ba");
}

TEST(TimerQueue, AtRestFiresTheTimersOfThatKindThatAreArmed) {
  Bench bench;
  Timer d(bench.queue, [&] { bench.fired += 'd'; }, TimerKind::kAtRest);
  const Timer e(bench.queue, [&] { bench.fired += 'e'; }, TimerKind::kAtRest);
  bench.a.arm(10ns);
  d.arm(20ns);
  bench.queue.run_at_rest();
  EXPECT_EQ(bench.fired, "d");
  bench.queue.run_at_rest();
  EXPECT_EQ(bench.fired, "d");
  EXPECT_EQ(bench.queue.next_deadline(), 10ns);
}

TEST(TimerQueue, AtRestATimerThatIsArmedMeanwhileWaitsForTheNextRest) {
  Bench bench;
  Timer d(bench.queue, [&] { bench.fired += 'd'; }, TimerKind::kAtRest);
  Timer e(
      bench.queue,
      [&] {
        bench.fired += 'e';
        if (bench.fired.size() == 1) e.arm(20ns);
      },
      TimerKind::kAtRest);
  e.arm(20ns);
  bench.queue.run_at_rest();
  EXPECT_EQ(bench.fired, "e");
  bench.queue.run_expired(20ns);
  EXPECT_EQ(bench.fired, "ee");
}

TEST(TimerQueue, FiresAtItsDeadlineAndNotBefore) {
  Bench bench;
  bench.a.arm(10ns);
  bench.queue.run_expired(9ns);
  EXPECT_EQ(bench.fired, "");
  bench.queue.run_expired(10ns);
  EXPECT_EQ(bench.fired, "a");
}

TEST(TimerQueue, FiresOnceAndIsNotArmedAfterwards) {
  Bench bench;
  bench.a.arm(10ns);
  bench.queue.run_expired(50ns);
  bench.queue.run_expired(60ns);
  EXPECT_EQ(bench.fired, "a");
  EXPECT_FALSE(bench.a.is_armed());
  EXPECT_EQ(bench.queue.next_deadline(), Timer::kNever);
}

TEST(TimerQueue, LeavesLaterTimersArmed) {
  Bench bench;
  bench.a.arm(10ns);
  bench.b.arm(11ns);
  bench.queue.run_expired(10ns);
  EXPECT_EQ(bench.fired, "a");
  EXPECT_EQ(bench.queue.next_deadline(), 11ns);
}

TEST(TimerQueue, MovesTheDeadlineWhenArmedAgain) {
  Bench bench;
  bench.a.arm(10ns);
  bench.a.arm(40ns);
  EXPECT_EQ(bench.a.deadline(), 40ns);
  bench.queue.run_expired(39ns);
  EXPECT_EQ(bench.fired, "");
}

TEST(TimerQueue, ForgetsADisarmedTimer) {
  Bench bench;
  bench.a.arm(10ns);
  bench.b.arm(20ns);
  bench.a.disarm();
  EXPECT_EQ(bench.queue.next_deadline(), 20ns);
  bench.queue.run_expired(20ns);
  EXPECT_EQ(bench.fired, "b");
}

TEST(TimerQueue, ForgetsADestroyedTimer) {
  Bench bench;
  auto gone = std::make_unique<Timer>(bench.queue, [&] { bench.fired += 'x'; });
  gone->arm(10ns);
  gone.reset();
  EXPECT_EQ(bench.queue.next_deadline(), Timer::kNever);
  bench.queue.run_expired(10ns);
  EXPECT_EQ(bench.fired, "");
}

TEST(TimerQueue, RunsATimerThatItsCallbackArmsForLater) {
  FakeInputs inputs;
  TimerQueue queue(inputs);
  int count = 0;
  Timer* self = nullptr;
  Timer periodic(queue, [&] {
    ++count;
    self->arm(Nanoseconds(10 * (count + 1)));
  });
  self = &periodic;
  periodic.arm(10ns);
  queue.run_expired(35ns);
  EXPECT_EQ(count, 3);
  EXPECT_EQ(periodic.deadline(), 40ns);
}

TEST(TimerQueue, LetsACallbackDisarmATimerThatIsDueToo) {
  FakeInputs inputs;
  TimerQueue queue(inputs);
  std::string fired;
  Timer second(queue, [&] { fired += '2'; });
  Timer first(queue, [&] {
    fired += '1';
    second.disarm();
  });
  first.arm(10ns);
  second.arm(10ns);
  queue.run_expired(10ns);
  EXPECT_EQ(fired, "1");
}

}  // namespace
}  // namespace doppel
