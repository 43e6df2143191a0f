// Tests of the virtio disk against its specification: requests, configuration, cache mode, limits.
#include "devices/virtio_block.h"

#include <gmock/gmock.h>

#include "devices/virtio_block_fixture.h"

namespace doppel {
namespace {

using namespace std::chrono_literals;
using namespace virtio_block;
using testing::Each;

class VirtioBlockTest : public VirtioBlockFixture {
 protected:
  Config config(VirtioBlockBench& bench) {
    Config read = {};
    bench.core.read_config(0, {reinterpret_cast<u8*>(&read), sizeof(read)});
    return read;
  }
  bool offers(VirtioBlockBench& bench, u64 feature) { return (bench.disk.device_features() & feature) != 0; }
};

TEST_P(VirtioBlockTest, ReadsSectorsIntoTheDriversPieces) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features()));
  std::fill_n(bench.backend.bytes().begin() + 3 * 512, 1024, 'x');
  const TestPiece first = bench.driver.writable(700);
  const TestPiece second = bench.driver.writable(324);
  EXPECT_EQ(run(bench, {header(bench, kTypeIn, 3), first, second}), kStatusOk);
  EXPECT_EQ(bench.driver.text(first), std::string(700, 'x'));
  EXPECT_EQ(bench.driver.text(second), std::string(324, 'x'));
  EXPECT_EQ(used->written, 1025u);
  EXPECT_EQ(bench.disk.counters().of(BlockOperation::kRead).requests, 1u);
  EXPECT_EQ(bench.disk.counters().of(BlockOperation::kRead).bytes, 1024u);
}

TEST_P(VirtioBlockTest, WritesSectorsFromTheDriversPieces) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features()));
  EXPECT_EQ(run(bench, {header(bench, kTypeOut, 2047), bench.driver.readable(std::string(512, 'y'))}),
            kStatusOk);
  EXPECT_THAT(std::span(bench.backend.bytes()).last(512), Each('y'));
  EXPECT_EQ(bench.backend.bytes()[2047 * 512 - 1], 0);
  EXPECT_EQ(used->written, 1u);
}

TEST_P(VirtioBlockTest, HeaderAndDataMayShareAPiece) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features()));
  const Header head{kTypeOut, 0, 1};
  const std::string whole = std::string(reinterpret_cast<const char*>(&head), 16) + std::string(512, 'z');
  EXPECT_EQ(run(bench, {bench.driver.readable(whole)}), kStatusOk);
  EXPECT_THAT(std::span(bench.backend.bytes()).subspan(512, 512), Each('z'));
}

TEST_P(VirtioBlockTest, FlushesDiscardsAndZeroes) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features()));
  EXPECT_EQ(run(bench, {header(bench, kTypeFlush, 0)}), kStatusOk);
  EXPECT_EQ(run_segment(bench, kTypeDiscard, {8, 16, 0}), kStatusOk);
  EXPECT_EQ(run_segment(bench, kTypeWriteZeroes, {8, 16, kSegmentUnmap}), kStatusOk);
  ASSERT_EQ(bench.backend.submitted.size(), 3u);
  EXPECT_EQ(bench.backend.submitted[0].operation, BlockOperation::kFlush);
  EXPECT_EQ(bench.backend.submitted[1].operation, BlockOperation::kDiscard);
  EXPECT_EQ(bench.backend.submitted[1].offset, 4096u);
  EXPECT_EQ(bench.backend.submitted[1].length, 8192u);
  EXPECT_TRUE(bench.backend.submitted[2].may_unmap);
}

TEST_P(VirtioBlockTest, TellsItsSerialNumber) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features()));
  const TestPiece room = bench.driver.writable(20);
  EXPECT_EQ(run(bench, {header(bench, kTypeGetId, 0), room}), kStatusOk);
  EXPECT_STREQ(bench.driver.text(room).c_str(), "serial-1");
  EXPECT_EQ(used->written, 21u);
}

TEST_P(VirtioBlockTest, ASmallRoomGetsTheStartOfTheSerialNumber) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features()));
  const TestPiece room = bench.driver.writable(3);
  EXPECT_EQ(run(bench, {header(bench, kTypeGetId, 0), room}), kStatusOk);
  EXPECT_EQ(bench.driver.text(room), "ser");
}

TEST_P(VirtioBlockTest, DescribesItself) {
  VirtioBlockBench bench({.serial = "", .queues = 4});
  const Config read = config(bench);
  EXPECT_EQ(read.capacity, 2048u);
  EXPECT_EQ(read.seg_max, VirtioBlock::kQueueSize - 2u);
  EXPECT_EQ(read.blk_size, 512u);
  EXPECT_EQ(read.physical_block_exp, 3);
  EXPECT_EQ(read.min_io_size, 8);
  EXPECT_EQ(read.writeback, 1);
  EXPECT_EQ(read.num_queues, 4);
  EXPECT_EQ(read.max_discard_seg, 1u);
  EXPECT_EQ(read.discard_sector_alignment, 8u);
  EXPECT_EQ(read.max_write_zeroes_seg, 1u);
  EXPECT_TRUE(offers(bench, kFeatureMultiQueue));
  EXPECT_TRUE(offers(bench, kFeatureFlush));
  EXPECT_FALSE(offers(bench, kFeatureReadOnly));
}

TEST_P(VirtioBlockTest, ConfigurationEndsInZeroes) {
  VirtioBlockBench bench;
  std::array<u8, 8> data;
  data.fill(0xff);
  bench.core.read_config(56, data);
  EXPECT_THAT(std::span(data).last(4), Each(0));
  data.fill(0xff);
  bench.core.read_config(~u64{0}, data);
  EXPECT_THAT(data, Each(0));
}

TEST_P(VirtioBlockTest, OffersOnlyWhatTheBackEndCan) {
  VirtioBlockBench bench({}, {.size = 4096, .is_read_only = true});
  EXPECT_TRUE(offers(bench, kFeatureReadOnly));
  EXPECT_FALSE(offers(bench, kFeatureDiscard));
  EXPECT_FALSE(offers(bench, kFeatureWriteZeroes));
  EXPECT_FALSE(offers(bench, kFeatureMultiQueue));
  EXPECT_EQ(config(bench).max_discard_sectors, 0u);
}

TEST_P(VirtioBlockTest, WritesThroughWhenTheDriverAsksForIt) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features()));
  const u8 off = 0;
  bench.core.write_config(offsetof(Config, writeback), {&off, 1});
  EXPECT_EQ(config(bench).writeback, 0);
  EXPECT_EQ(run(bench, {header(bench, kTypeOut, 0), bench.driver.readable(std::string(512, 'y'))}),
            kStatusOk);
  ASSERT_EQ(bench.backend.submitted.size(), 2u);
  EXPECT_EQ(bench.backend.submitted[0].operation, BlockOperation::kWrite);
  EXPECT_EQ(bench.backend.submitted[1].operation, BlockOperation::kFlush);
}

TEST_P(VirtioBlockTest, WritesThroughForADriverThatCannotFlush) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features(kFeatureFlush | kFeatureConfigWce)));
  EXPECT_EQ(run(bench, {header(bench, kTypeOut, 0), bench.driver.readable(std::string(512, 'y'))}),
            kStatusOk);
  EXPECT_EQ(bench.backend.submitted.back().operation, BlockOperation::kFlush);
}

TEST_P(VirtioBlockTest, AFailedWriteIsNotFlushed) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features(kFeatureFlush | kFeatureConfigWce)));
  bench.backend.completes_at_once = false;
  const TestPiece status = status_piece(bench);
  bench.driver.send(0, {header(bench, kTypeOut, 0), bench.driver.readable(std::string(512, 'y')), status});
  bench.backend.complete_all(BlockStatus::kIoError);
  EXPECT_EQ(bench.backend.submitted.size(), 1u);
  EXPECT_EQ(*bench.memory->read_value<u8>(status.address), kStatusIoError);
}

TEST_P(VirtioBlockTest, ErrorsOfTheBackEndReachTheGuestOnceAndAreCounted) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features()));
  bench.backend.completes_at_once = false;
  const TestPiece status = status_piece(bench);
  bench.driver.send(0, {header(bench, kTypeIn, 0), bench.driver.writable(512), status});
  EXPECT_FALSE(bench.driver.take(0));
  bench.backend.complete_all(BlockStatus::kIoError);
  EXPECT_TRUE(bench.driver.take(0));
  EXPECT_FALSE(bench.driver.take(0));
  EXPECT_EQ(*bench.memory->read_value<u8>(status.address), kStatusIoError);
  EXPECT_EQ(bench.disk.counters().of(BlockOperation::kRead).errors, 1u);
  EXPECT_EQ(bench.disk.counters().refused, 0u);
}

TEST_P(VirtioBlockTest, OneNotificationAndOneInterruptServeManyRequests) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features()));
  bench.backend.completes_at_once = false;
  bench.driver.ring(0).interrupt_after(1);
  for (u64 i = 0; i < 20; ++i) {
    const TestPiece pieces[] = {header(bench, kTypeIn, i), bench.driver.writable(512), status_piece(bench)};
    ASSERT_TRUE(bench.driver.ring(0).add(pieces));
  }
  bench.driver.kick(0);
  EXPECT_EQ(bench.backend.held.size(), 20u);
  EXPECT_EQ(bench.backend.flushes, 1u);
  EXPECT_EQ(bench.disk.counters().notifications, 1u);
  EXPECT_EQ(bench.interrupts.queue_interrupts, 0u);
  bench.backend.complete_all(BlockStatus::kOk);
  EXPECT_EQ(bench.interrupts.queue_interrupts, 1u);
}

TEST_P(VirtioBlockTest, EachQueueGetsItsOwnAnswers) {
  VirtioBlockBench bench({.serial = "", .queues = 2});
  ASSERT_TRUE(bench.driver.start(features()));
  bench.driver.send(1, {header(bench, kTypeIn, 0), bench.driver.writable(512), status_piece(bench)});
  EXPECT_FALSE(bench.driver.take(0));
  EXPECT_TRUE(bench.driver.take(1));
}

TEST_P(VirtioBlockTest, RequestsOverTheRateWaitForTheTimer) {
  VirtioBlockBench bench({.serial = "", .operations = 10});
  ASSERT_TRUE(bench.driver.start(features()));
  for (u64 i = 0; i < 3; ++i) {
    bench.driver.send(0, {header(bench, kTypeIn, i), bench.driver.writable(512), status_piece(bench)});
  }
  EXPECT_EQ(bench.backend.submitted.size(), 1u);
  bench.inputs.advance(bench.timers, 99ms);
  EXPECT_EQ(bench.backend.submitted.size(), 1u);
  bench.inputs.advance(bench.timers, 2ms);
  EXPECT_EQ(bench.backend.submitted.size(), 2u);
  bench.inputs.advance(bench.timers, 100ms);
  EXPECT_EQ(bench.backend.submitted.size(), 3u);
  EXPECT_TRUE(bench.driver.take(0));
  EXPECT_TRUE(bench.driver.take(0));
  EXPECT_TRUE(bench.driver.take(0));
}

TEST_P(VirtioBlockTest, RequestsOverTheRateGoOnAfterLoading) {
  VirtioBlockBench bench({.serial = "", .operations = 10});
  ASSERT_TRUE(bench.driver.start(features()));
  for (u64 i = 0; i < 2; ++i) {
    bench.driver.send(0, {header(bench, kTypeIn, i), bench.driver.writable(512), status_piece(bench)});
  }
  StateSaver saver;
  bench.core.visit_state(saver);
  const std::vector<u8> saved = saver.take();
  bench.core.reset();
  StateLoader loader(saved);
  bench.core.visit_state(loader);
  ASSERT_TRUE(loader.finish());
  EXPECT_EQ(bench.backend.submitted.size(), 1u);
  bench.inputs.advance(bench.timers, 101ms);
  EXPECT_EQ(bench.backend.submitted.size(), 2u);
}

TEST_P(VirtioBlockTest, BandwidthCountsBytesAndLetsLargeRequestsThrough) {
  VirtioBlockBench bench({.serial = "", .bandwidth = 64 * kKiB});
  ASSERT_TRUE(bench.driver.start(features()));
  // More than the burst of a tenth of a second: allowed once, at the price of a second of waiting.
  bench.driver.send(0, {header(bench, kTypeIn, 0), bench.driver.writable(64 * kKiB), status_piece(bench)});
  bench.driver.send(0, {header(bench, kTypeIn, 0), bench.driver.writable(512), status_piece(bench)});
  EXPECT_EQ(bench.backend.submitted.size(), 1u);
  bench.inputs.advance(bench.timers, 800ms);
  EXPECT_EQ(bench.backend.submitted.size(), 1u);
  bench.inputs.advance(bench.timers, 200ms);
  EXPECT_EQ(bench.backend.submitted.size(), 2u);
}

TEST_P(VirtioBlockTest, AResetForgetsWhatIsInFlight) {
  VirtioBlockBench bench;
  ASSERT_TRUE(bench.driver.start(features()));
  bench.backend.completes_at_once = false;
  bench.driver.send(0, {header(bench, kTypeIn, 0), bench.driver.writable(512), status_piece(bench)});
  ASSERT_EQ(bench.backend.held.size(), 1u);
  const unsigned abandons = bench.backend.abandons;
  bench.core.set_status(0);
  EXPECT_EQ(bench.backend.abandons, abandons + 1);
  bench.backend.completes_at_once = true;
  ASSERT_TRUE(bench.driver.start(features()));
  EXPECT_EQ(run(bench, {header(bench, kTypeFlush, 0)}), kStatusOk);
  EXPECT_FALSE(bench.driver.take(0));
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtioBlockTest, testing::Bool(), ring_name);

}  // namespace
}  // namespace doppel
