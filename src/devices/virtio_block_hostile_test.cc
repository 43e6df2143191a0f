// Tests of drivers that break the rules of the virtio disk, and of its state while requests are in flight.
#include <gmock/gmock.h>

#include <random>

#include "devices/virtio_block_fixture.h"

namespace doppel {
namespace {

using namespace virtio_block;
using testing::Each;

class HostileBlockTest : public VirtioBlockFixture {
 protected:
  void SetUp() override { ASSERT_TRUE(bench.driver.start(features())); }
  u8 run_read(u64 sector, u32 bytes) {
    return run(bench, {header(bench, kTypeIn, sector), bench.driver.writable(bytes)});
  }
  VirtioBlockBench bench;
};

TEST_P(HostileBlockTest, SectorsBeyondTheEndAreErrors) {
  EXPECT_EQ(run_read(2047, 512), kStatusOk);
  EXPECT_EQ(run_read(2047, 1024), kStatusIoError);
  EXPECT_EQ(run_read(2048, 512), kStatusIoError);
  EXPECT_EQ(run_read(~u64{0}, 512), kStatusIoError);
  EXPECT_EQ(run_read(u64{1} << 55, 512), kStatusIoError);
  EXPECT_EQ(run_read((u64{1} << 55) + 1, 512), kStatusIoError);
  EXPECT_EQ(bench.backend.submitted.size(), 1u);
  EXPECT_EQ(bench.disk.counters().refused, 5u);
}

TEST_P(HostileBlockTest, PartsOfSectorsAreErrors) {
  EXPECT_EQ(run_read(0, 511), kStatusIoError);
  EXPECT_EQ(run_read(0, 513), kStatusIoError);
  EXPECT_EQ(run(bench, {header(bench, kTypeOut, 0), bench.driver.readable("short")}), kStatusIoError);
  EXPECT_TRUE(bench.backend.submitted.empty());
}

TEST_P(HostileBlockTest, NothingToTransferIsDoneAtOnce) {
  EXPECT_EQ(run(bench, {header(bench, kTypeIn, 0)}), kStatusOk);
  EXPECT_EQ(run(bench, {header(bench, kTypeOut, 2048)}), kStatusOk);
  EXPECT_EQ(run(bench, {header(bench, kTypeIn, 2049)}), kStatusIoError);
  EXPECT_TRUE(bench.backend.submitted.empty());
}

TEST_P(HostileBlockTest, UnknownTypesAreUnsupported) {
  EXPECT_EQ(run(bench, {header(bench, 2, 0)}), kStatusUnsupported);
  EXPECT_EQ(run(bench, {header(bench, 14, 0)}), kStatusUnsupported);
  EXPECT_EQ(run(bench, {header(bench, ~u32{0}, 0)}), kStatusUnsupported);
}

TEST_P(HostileBlockTest, AShortHeaderIsAnError) {
  EXPECT_EQ(run(bench, {bench.driver.readable("fifteen bytes..")}), kStatusIoError);
  EXPECT_EQ(run(bench, {}), kStatusIoError);
}

TEST_P(HostileBlockTest, AChainWithoutRoomForTheStatusComesBackEmpty) {
  bench.driver.send(0, {header(bench, kTypeFlush, 0)});
  const auto returned = bench.driver.take(0);
  ASSERT_TRUE(returned);
  EXPECT_EQ(returned->written, 0u);
  EXPECT_TRUE(bench.backend.submitted.empty());
  EXPECT_EQ(bench.disk.counters().refused, 1u);
}

TEST_P(HostileBlockTest, ChainsLongerThanTheQueueAreErrors) {
  std::vector<TestPiece> pieces = {header(bench, kTypeIn, 0)};
  pieces.resize(1 + 512, bench.driver.writable(512));
  const TestPiece status = status_piece(bench);
  pieces.push_back(status);
  bench.driver.send(0, pieces, true);
  ASSERT_TRUE(bench.driver.take(0));
  EXPECT_EQ(*bench.memory->read_value<u8>(status.address), kStatusIoError);
  EXPECT_TRUE(bench.backend.submitted.empty());
}

TEST_P(HostileBlockTest, BadSegmentsAreRefused) {
  EXPECT_EQ(run_segment(bench, kTypeDiscard, {2040, 9, 0}), kStatusIoError);
  EXPECT_EQ(run_segment(bench, kTypeDiscard, {0, 8, kSegmentUnmap}), kStatusUnsupported);
  EXPECT_EQ(run_segment(bench, kTypeWriteZeroes, {0, 8, 2}), kStatusUnsupported);
  EXPECT_EQ(run_segment(bench, kTypeWriteZeroes, {~u64{0}, 8, 0}), kStatusIoError);
  EXPECT_EQ(run_segment(bench, kTypeWriteZeroes, {0, ~u32{0}, 0}), kStatusIoError);
  EXPECT_EQ(run_segment(bench, kTypeWriteZeroes, {0, 0, 0}), kStatusOk);
  EXPECT_EQ(run(bench, {header(bench, kTypeDiscard, 0)}), kStatusIoError);
  EXPECT_EQ(run(bench, {header(bench, kTypeDiscard, 0), bench.driver.readable(std::string(32, '\0'))}),
            kStatusIoError);
  EXPECT_TRUE(bench.backend.submitted.empty());
}

TEST_P(HostileBlockTest, AReadOnlyDiskChangesNothing) {
  VirtioBlockBench frozen({}, {.size = kMiB, .is_read_only = true});
  ASSERT_TRUE(frozen.driver.start(features()));
  EXPECT_EQ(run(frozen, {header(frozen, kTypeOut, 0), frozen.driver.readable(std::string(512, 'y'))}),
            kStatusIoError);
  EXPECT_EQ(run_segment(frozen, kTypeDiscard, {0, 8, 0}), kStatusIoError);
  EXPECT_EQ(run_segment(frozen, kTypeWriteZeroes, {0, 8, 0}), kStatusIoError);
  EXPECT_EQ(run(frozen, {header(frozen, kTypeIn, 0), frozen.driver.writable(512)}), kStatusOk);
  EXPECT_EQ(frozen.backend.submitted.size(), 1u);
}

TEST_P(HostileBlockTest, ABackEndWithoutDiscardAnswersUnsupported) {
  VirtioBlockBench plain({}, {.size = kMiB});
  ASSERT_TRUE(plain.driver.start(features()));
  EXPECT_EQ(run_segment(plain, kTypeDiscard, {0, 8, 0}), kStatusUnsupported);
  EXPECT_EQ(run_segment(plain, kTypeWriteZeroes, {0, 8, 0}), kStatusUnsupported);
}

TEST_P(HostileBlockTest, DataMayCoverItsOwnStatusByte) {
  const TestPiece data = bench.driver.writable(512);
  const TestPiece inside{data.address + 100, 1, true};
  bench.backend.bytes()[100] = 0x77;
  bench.driver.send(0, {header(bench, kTypeIn, 0), data, inside});
  EXPECT_TRUE(bench.driver.take(0));
  EXPECT_EQ(*bench.memory->read_value<u8>(inside.address), kStatusOk);
}

TEST_P(HostileBlockTest, SurvivesRandomRequests) {
  std::mt19937_64 random(0x5eed);
  constexpr u32 kTypes[] = {0, 1, 4, 8, 11, 13, 7};
  for (int i = 0; i < 2000; ++i) {
    VirtioBlockBench& b = bench;
    std::vector<TestPiece> pieces = {
        {GuestPhys(random() % (64 * kKiB)), static_cast<u32>(random() % 40), false}};
    const Header head{kTypes[random() % 7], 0, random() % 3000};
    b.memory->write_value(pieces[0].address, head);
    const u64 count = random() % 5;
    for (u64 n = 0; n < count; ++n) {
      const bool is_writable = n * 2 >= count;
      pieces.push_back(
          {GuestPhys(random() % (64 * kKiB)), static_cast<u32>(512 * (random() % 9)), is_writable});
    }
    if (random() % 8 != 0) pieces.push_back({GuestPhys(random() % (64 * kKiB)), 1, true});
    b.driver.send(0, pieces);
    ASSERT_TRUE(b.driver.take(0)) << "request " << i;
  }
  EXPECT_EQ(bench.core.broken_queues(), 0u);
}

class BlockStateTest : public VirtioBlockFixture {
 protected:
  static std::vector<u8> save(VirtioBlockBench& bench) {
    StateSaver saver;
    bench.core.visit_state(saver);
    bench.memory->visit_state(saver);
    return saver.take();
  }
  // RAM after the devices, as a machine may do it.
  static Result<void> load(VirtioBlockBench& bench, std::span<const u8> state) {
    StateLoader loader(state);
    bench.core.visit_state(loader);
    bench.memory->visit_state(loader);
    return loader.finish();
  }
  static u64 digest(VirtioBlockBench& bench) {
    StateHasher hasher;
    bench.core.visit_state(hasher);
    return hasher.digest();
  }
};

TEST_P(BlockStateTest, RequestsInFlightAreIssuedAgainAfterLoading) {
  VirtioBlockBench source;
  ASSERT_TRUE(source.driver.start(features()));
  source.backend.completes_at_once = false;
  const TestPiece room = source.driver.writable(512);
  const TestPiece status = status_piece(source);
  source.driver.send(0, {header(source, kTypeIn, 5), room, status});
  source.driver.send(
      0, {header(source, kTypeOut, 6), source.driver.readable(std::string(512, 'w')), status_piece(source)});
  const std::vector<u8> state = save(source);

  VirtioBlockBench target;
  std::fill_n(target.backend.bytes().begin() + 5 * 512, 512, 'r');
  const auto loaded = load(target, state);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(digest(target), digest(source));
  EXPECT_TRUE(target.backend.submitted.empty());
  target.core.resume();
  ASSERT_EQ(target.backend.submitted.size(), 2u);
  EXPECT_EQ(target.backend.submitted[0].offset, 5u * 512);
  EXPECT_EQ(target.backend.submitted[1].offset, 6u * 512);
  EXPECT_EQ(target.driver.text(room), std::string(512, 'r'));
  EXPECT_EQ(*target.memory->read_value<u8>(status.address), kStatusOk);
  EXPECT_EQ(target.backend.bytes()[6 * 512], 'w');
  EXPECT_EQ(target.interrupts.queue_interrupts, 1u);
}

TEST_P(BlockStateTest, SavingAfterLoadingGivesTheSame) {
  VirtioBlockBench source({.serial = "", .queues = 2, .bandwidth = kMiB, .operations = 5});
  ASSERT_TRUE(source.driver.start(features()));
  source.backend.completes_at_once = false;
  source.driver.send(1, {header(source, kTypeIn, 5), source.driver.writable(512), status_piece(source)});
  const std::vector<u8> state = save(source);
  VirtioBlockBench target({.serial = "", .queues = 2, .bandwidth = kMiB, .operations = 5});
  ASSERT_TRUE(load(target, state));
  EXPECT_EQ(save(target), state);
}

TEST_P(BlockStateTest, RequestsOverTheRateAreTakenAfterLoading) {
  VirtioBlockBench source({.serial = "", .operations = 10});
  ASSERT_TRUE(source.driver.start(features()));
  source.driver.send(0, {header(source, kTypeIn, 0), source.driver.writable(512), status_piece(source)});
  source.driver.send(0, {header(source, kTypeIn, 1), source.driver.writable(512), status_piece(source)});
  ASSERT_EQ(source.backend.submitted.size(), 1u);
  VirtioBlockBench target({.serial = "", .operations = 10});
  ASSERT_TRUE(load(target, save(source)));
  target.core.resume();
  EXPECT_TRUE(target.backend.submitted.empty());
  target.inputs.advance(target.timers, std::chrono::milliseconds(101));
  EXPECT_EQ(target.backend.submitted.size(), 1u);
}

TEST_P(BlockStateTest, DamagedStateIsRefusedOrHarmless) {
  VirtioBlockBench source;
  ASSERT_TRUE(source.driver.start(features()));
  source.backend.completes_at_once = false;
  source.driver.send(0, {header(source, kTypeIn, 5), source.driver.writable(512), status_piece(source)});
  StateSaver saver;
  source.core.visit_state(saver);
  const std::vector<u8> state = saver.take();
  std::mt19937_64 random(0x5eed);
  VirtioBlockBench target;
  for (int i = 0; i < 2000; ++i) {
    std::vector<u8> damaged = state;
    damaged[random() % damaged.size()] = static_cast<u8>(random());
    StateLoader loader(damaged);
    target.core.visit_state(loader);
    target.core.resume();
  }
  ASSERT_TRUE(target.driver.start(features()));
  EXPECT_EQ(run(target, {header(target, kTypeFlush, 0)}), kStatusOk);
}

INSTANTIATE_TEST_SUITE_P(Rings, HostileBlockTest, testing::Bool(), ring_name);
INSTANTIATE_TEST_SUITE_P(Rings, BlockStateTest, testing::Bool(), ring_name);

}  // namespace
}  // namespace doppel
