// Queues in both formats: moving buffers, notifications, and what hostile rings may not do.
#include "virtio/virt_queue.h"

#include "virtio/virtio_fixture.h"

namespace doppel {
namespace {

using Queue = VirtioFixture;
INSTANTIATE_TEST_SUITE_P(Formats, Queue, testing::Bool(), ring_name);

TEST_P(Queue, AnswersAChain) {
  ASSERT_TRUE(driver_.start(features()));
  const TestPiece answer = driver_.writable(5);
  const u16 id = driver_.send(0, {driver_.readable("hello"), answer});
  const auto used = driver_.take(0);
  ASSERT_TRUE(used);
  EXPECT_EQ(used->id, id);
  EXPECT_EQ(used->written, 5u);
  EXPECT_EQ(driver_.text(answer), "hello");
  EXPECT_FALSE(driver_.take(0));
}

TEST_P(Queue, GathersAndScattersPieces) {
  ASSERT_TRUE(driver_.start(features()));
  const TestPiece first = driver_.writable(1);
  const TestPiece second = driver_.writable(9);
  driver_.send(0, {driver_.readable("ab"), driver_.readable(""), driver_.readable("cd"), first, second});
  EXPECT_EQ(driver_.take(0)->written, 4u);
  EXPECT_EQ(driver_.text(first), "a");
  EXPECT_EQ(driver_.text(second.address, 3), "bcd");
}

TEST_P(Queue, FollowsIndirectTables) {
  ASSERT_TRUE(driver_.start(features()));
  std::vector<TestPiece> pieces;
  std::string expected;
  for (int i = 0; i < 40; ++i) {  // more than fit without allocation, more than the ring has entries
    pieces.push_back(driver_.readable("xy"));
    expected += "xy";
  }
  const TestPiece answer = driver_.writable(100);
  pieces.push_back(answer);
  driver_.send(0, pieces, true);
  EXPECT_EQ(driver_.take(0)->written, 80u);
  EXPECT_EQ(driver_.text(answer.address, 80), expected);
}

TEST_P(Queue, WrapsAroundManyTimes) {
  ASSERT_TRUE(driver_.start(features(), 8));
  const TestPiece question = driver_.readable("12345678");
  const TestPiece answer = driver_.writable(8);
  for (int i = 0; i < 70000; ++i) {
    driver_.send(0, {question, answer});
    if (i % 3 == 0) driver_.send(0, {question, answer, answer});
    while (driver_.take(0)) {
    }
  }
  EXPECT_EQ(core_.broken_queues(), 0u);
  driver_.send(0, {question, answer});
  EXPECT_EQ(driver_.take(0)->written, 8u);
}

using PackedQueue = VirtioFixture;
INSTANTIATE_TEST_SUITE_P(Formats, PackedQueue, testing::Values(true), ring_name);

TEST_P(PackedQueue, SizesNeedNotBePowersOfTwo) {
  ASSERT_TRUE(driver_.start(features(), 7));
  const TestPiece answer = driver_.writable(1);
  for (int i = 0; i < 50; ++i) {
    driver_.send(0, {driver_.readable("z"), answer});
    ASSERT_TRUE(driver_.take(0));
  }
}

TEST_P(Queue, AnswersOutOfOrder) {
  ASSERT_TRUE(driver_.start(features(), 8));
  const TestPiece one = driver_.writable(1);
  const TestPiece two = driver_.writable(1);
  const u16 first = driver_.send(1, {driver_.readable("1"), one});
  const u16 second = driver_.send(1, {driver_.readable("2"), two});
  device_.answer();
  EXPECT_EQ(driver_.take(1)->id, second);
  device_.answer();
  EXPECT_EQ(driver_.take(1)->id, first);
  EXPECT_EQ(driver_.text(one), "1");
  EXPECT_EQ(driver_.text(two), "2");
}

TEST_P(Queue, UndonePopIsAvailableAgain) {
  ASSERT_TRUE(driver_.start(features(), 8));
  VirtQueue& queue = device_.host()->queue(0);
  ASSERT_TRUE(driver_.ring(0).add(std::vector{driver_.readable("a"), driver_.readable("b")}));
  ASSERT_TRUE(driver_.ring(0).add(std::vector{driver_.readable("c")}));
  const auto first = queue.pop();
  const auto second = queue.pop();
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(queue.pop());
  queue.undo_pop(*second);
  queue.undo_pop(*first);
  EXPECT_TRUE(queue.has_available());
  EXPECT_EQ(queue.pop()->token().id, first->token().id);
  EXPECT_EQ(queue.pop()->token().id, second->token().id);
}

TEST_P(Queue, UsedTogetherIsSeenTogether) {
  ASSERT_TRUE(driver_.start(features(), 8));
  VirtQueue& queue = device_.host()->queue(0);
  driver_.ring(0).add(std::vector{driver_.writable(4)});
  driver_.ring(0).add(std::vector{driver_.writable(4)});
  const auto first = queue.pop();
  const auto second = queue.pop();
  const std::array buffers = {UsedBuffer{&*first, 4}, UsedBuffer{&*second, 2}};
  queue.push_together(buffers);
  EXPECT_EQ(driver_.take(0)->written, 4u);
  EXPECT_EQ(driver_.take(0)->written, 2u);
}

TEST_P(Queue, InterruptsUnlessTheDriverPolls) {
  ASSERT_TRUE(driver_.start(features_without_events()));
  driver_.send(0, {driver_.readable("x")});
  EXPECT_EQ(interrupts_.queue_interrupts, 1u);
  driver_.ring(0).set_interrupts(false);
  driver_.send(0, {driver_.readable("x")});
  EXPECT_EQ(interrupts_.queue_interrupts, 1u);
  driver_.ring(0).set_interrupts(true);
  driver_.send(0, {driver_.readable("x")});
  EXPECT_EQ(interrupts_.queue_interrupts, 2u);
}

TEST_P(Queue, InterruptsAtTheEventIndex) {
  ASSERT_TRUE(driver_.start(features(), 8));
  driver_.send(0, {driver_.readable("x")});
  ASSERT_TRUE(driver_.take(0));
  for (int round = 0; round < 10; ++round) {
    interrupts_.queue_interrupts = 0;
    driver_.ring(0).interrupt_after(3);
    driver_.send(0, {driver_.readable("x")});
    driver_.send(0, {driver_.readable("x")});
    EXPECT_EQ(interrupts_.queue_interrupts, 0u);
    driver_.send(0, {driver_.readable("x")});
    EXPECT_EQ(interrupts_.queue_interrupts, 1u);
    while (driver_.take(0)) {
    }
  }
}

TEST_P(Queue, AsksForNotificationsOnlyWhileEnabled) {
  ASSERT_TRUE(driver_.start(features_without_events()));
  VirtQueue& queue = device_.host()->queue(0);
  queue.disable_notifications();
  driver_.ring(0).add(std::vector{driver_.readable("x")});
  EXPECT_FALSE(driver_.ring(0).wants_kick());
  EXPECT_TRUE(queue.enable_notifications());
  ASSERT_TRUE(queue.pop());
  EXPECT_FALSE(queue.enable_notifications());
  driver_.ring(0).add(std::vector{driver_.readable("x")});
  EXPECT_TRUE(driver_.ring(0).wants_kick());
}

TEST_P(Queue, BusyDeviceHearsNothingWithEventIndex) {
  ASSERT_TRUE(driver_.start(features()));
  VirtQueue& queue = device_.host()->queue(0);
  ASSERT_FALSE(queue.pop());
  driver_.ring(0).add(std::vector{driver_.readable("x")});
  EXPECT_TRUE(driver_.ring(0).wants_kick());
  queue.disable_notifications();
  ASSERT_TRUE(queue.pop());
  EXPECT_FALSE(queue.pop());
  driver_.ring(0).add(std::vector{driver_.readable("x")});
  EXPECT_FALSE(driver_.ring(0).wants_kick());
}

TEST_P(Queue, AnnouncesWritesToCode) {
  ASSERT_TRUE(driver_.start(features()));
  FakeCodeUser user(memory_->code_frames());
  const TestPiece answer{driver_.allocate(kPageSize, kPageSize), 4, true};
  user.mark(answer.address);
  driver_.send(0, {driver_.readable("code"), answer});
  user.read_mail();
  EXPECT_EQ(user.last, answer.address);
}

TEST_P(Queue, ChainOfAnEarlierLifeIsIgnored) {
  ASSERT_TRUE(driver_.start(features(), 8));
  driver_.ring(0).add(std::vector{driver_.readable("x")});
  const auto chain = device_.host()->queue(0).pop();
  ASSERT_TRUE(driver_.start(features(), 8));
  device_.host()->queue(0).push(*chain, 0);
  EXPECT_FALSE(driver_.take(0));
}

// Writes descriptor 0 of queue 0 so that it is the next chain.
class HostileQueue : public VirtioFixture {
 protected:
  void offer(const TestPiece& piece) {
    ASSERT_TRUE(driver_.start(features(), 8));
    driver_.send(0, {piece});
  }
  bool is_broken() const { return core_.broken_queues() == 1 && interrupts_.config_interrupts == 1; }
};
INSTANTIATE_TEST_SUITE_P(Formats, HostileQueue, testing::Bool(), ring_name);

TEST_P(HostileQueue, BufferBeyondRam) {
  offer({GuestPhys(4 * kMiB - 4), 5, true});
  EXPECT_TRUE(is_broken());
  EXPECT_NE(core_.status() & virtio_status::kNeedsReset, 0);
  EXPECT_FALSE(driver_.take(0));
}

TEST_P(HostileQueue, BufferAroundTheAddressSpace) {
  offer({GuestPhys(~u64{0}), 2, false});
  EXPECT_TRUE(is_broken());
}

TEST_P(HostileQueue, BufferOfFourGigabytes) {
  offer({GuestPhys(0), 0xffffffff, true});
  EXPECT_TRUE(is_broken());
}

TEST_P(HostileQueue, MoreThanFourGigabytesInPieces) {
  ASSERT_TRUE(driver_.start(features(), 8));
  const std::vector<TestPiece> pieces(1025, {GuestPhys(0), 4 * kMiB, true});
  driver_.send(0, pieces, true);
  EXPECT_TRUE(is_broken());
}

TEST_P(HostileQueue, ReadableAfterWritable) {
  ASSERT_TRUE(driver_.start(features(), 8));
  driver_.send(0, {driver_.writable(1), driver_.readable("x")});
  EXPECT_TRUE(is_broken());
}

TEST_P(HostileQueue, BrokenQueueWorksAfterReset) {
  offer({GuestPhys(4 * kMiB), 1, true});
  ASSERT_TRUE(driver_.start(features(), 8));
  EXPECT_EQ(core_.status() & virtio_status::kNeedsReset, 0);
  driver_.send(0, {driver_.readable("x")});
  EXPECT_TRUE(driver_.take(0));
}

TEST_P(HostileQueue, IndirectWithoutTheFeature) {
  ASSERT_TRUE(driver_.start(features() & ~kVirtioFIndirectDescriptors, 8));
  driver_.send(0, {driver_.readable("x")}, true);
  EXPECT_TRUE(is_broken());
}

TEST_P(HostileQueue, RingsOutsideRam) {
  ASSERT_TRUE(driver_.start(features(), 8));
  core_.reset_queue(0);
  *core_.writable_queue_registers(0) = {.size = 8, .descriptors = 4 * kMiB - 16};
  core_.enable_queue(0);
  core_.notify(0);
  EXPECT_TRUE(is_broken());
}

TEST_P(HostileQueue, MoreInFlightThanEntries) {
  ASSERT_TRUE(driver_.start(features(), 8));
  const GuestPhys place = driver_.ring(1).descriptors;
  for (u16 round = 0; round < 2; ++round) {
    for (u16 i = 0; i < 8; ++i) {
      const bool is_first_lap = round == 0;
      memory_->write_value(place + u64{16} * i, driver_.readable("x").address.value());
      memory_->write_value(place + u64{16} * i + 8, u32{1});
      memory_->write_value(place + u64{16} * i + 14,
                           GetParam() ? static_cast<u16>(is_first_lap ? 0x80 : 0x8000) : u16{0});
      if (!GetParam()) memory_->write_value(driver_.ring(1).driver + 2, static_cast<u16>(round * 8 + i + 1));
      core_.notify(1);
    }
  }
  EXPECT_TRUE(is_broken());
  EXPECT_EQ(device_.waiting(), 8u);
}

// What only split rings can say.
class HostileSplit : public VirtioFixture {
 protected:
  void SetUp() override { ASSERT_TRUE(driver_.start(features(), 8)); }
  void descriptor(GuestPhys table, u16 index, u16 flags, u16 next) {
    const GuestPhys at = table + u64{16} * index;
    memory_->write_value(at, u64{0x1000});
    memory_->write_value(at + 8, u32{16});
    memory_->write_value(at + 12, flags);
    memory_->write_value(at + 14, next);
  }
  void publish(u16 available_index) {
    memory_->write_value(driver_.ring(0).driver + 2, available_index);
    core_.notify(0);
  }
};
INSTANTIATE_TEST_SUITE_P(Formats, HostileSplit, testing::Values(false), ring_name);

TEST_P(HostileSplit, IndexJump) {
  publish(9);
  EXPECT_EQ(core_.broken_queues(), 1u);
}

TEST_P(HostileSplit, HeadBeyondTheTable) {
  memory_->write_value(driver_.ring(0).driver + 4, u16{8});
  publish(1);
  EXPECT_EQ(core_.broken_queues(), 1u);
}

TEST_P(HostileSplit, Loop) {
  descriptor(driver_.ring(0).descriptors, 0, 1, 1);
  descriptor(driver_.ring(0).descriptors, 1, 1, 0);
  publish(1);
  EXPECT_EQ(core_.broken_queues(), 1u);
}

TEST_P(HostileSplit, NextBeyondTheTable) {
  descriptor(driver_.ring(0).descriptors, 0, 1, 8);
  publish(1);
  EXPECT_EQ(core_.broken_queues(), 1u);
}

TEST_P(HostileSplit, LoopInAnIndirectTable) {
  descriptor(GuestPhys(0x1000), 0, 1, 0);
  descriptor(driver_.ring(0).descriptors, 0, 4, 0);
  publish(1);
  EXPECT_EQ(core_.broken_queues(), 1u);
}

TEST_P(HostileSplit, NestedIndirectTable) {
  descriptor(GuestPhys(0x1000), 0, 4, 0);
  descriptor(driver_.ring(0).descriptors, 0, 4, 0);
  publish(1);
  EXPECT_EQ(core_.broken_queues(), 1u);
}

TEST_P(HostileSplit, DirectDescriptorsMayPrecedeAnIndirectTable) {
  descriptor(GuestPhys(0x1000), 0, 2, 0);
  descriptor(driver_.ring(0).descriptors, 0, 1, 1);
  descriptor(driver_.ring(0).descriptors, 1, 4, 0);
  publish(1);
  EXPECT_EQ(core_.broken_queues(), 0u);
  EXPECT_EQ(*memory_->read_value<u16>(driver_.ring(0).device + 2), 1u);
}

TEST(PackedRing, ChainLongerThanTheRing) {
  auto memory = *GuestMemory::create(kMiB);
  PackedRing ring(*memory);
  ASSERT_TRUE(ring.enable({.size = 4,
                           .descriptors = GuestPhys(0x1000),
                           .driver = GuestPhys(0x2000),
                           .device = GuestPhys(0x3000),
                           .is_packed = true}));
  for (u64 slot = 0; slot < 4; ++slot) memory->write_value(GuestPhys(0x1000) + 16 * slot + 14, u16{0x81});
  DescriptorChain chain(*memory);
  std::string_view why;
  EXPECT_EQ(ring.next(chain, why), RingStatus::kBroken);
}

}  // namespace
}  // namespace doppel
