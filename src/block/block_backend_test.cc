// What every back end promises: the same tests over files, direct files and NBD, waiting and not.
#include "block/block_backend.h"

#include <gmock/gmock.h>

#include <random>
#include <thread>

#include "block/nbd_server.h"
#include "block/open_disk.h"

namespace doppel {
namespace {

using testing::Each;

constexpr u64 kDiskSize = 4 * kMiB;

struct Kind {
  std::string name;
  bool is_nbd = false;
  bool is_direct = false;
  bool waits = false;  // no event loop
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class BlockBackendTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    DiskConfig config{.target = folder.make_file("disk", kDiskSize), .is_direct = GetParam().is_direct};
    if (GetParam().is_nbd) {
      server = std::make_unique<NbdServer>(std::vector<std::string>{"file", config.target});
      if (!server->is_installed()) GTEST_SKIP() << "nbdkit is not installed";
      ASSERT_TRUE(server->is_running());
      config.target = server->uri();
    }
    auto opened = open_disk(config, GetParam().waits ? nullptr : bench.loop.get());
    ASSERT_TRUE(opened) << opened.error().message;
    const std::lock_guard held(bench.lock);
    backend = std::move(*opened);
    backend->set_client(bench.client);
  }
  void TearDown() override {
    const std::lock_guard held(bench.lock);
    backend.reset();
  }
  BlockStatus run(const BlockRequest& request) { return bench.client.run(*backend, request); }
  std::vector<u8> read(u64 offset, u64 size) {
    Buffer buffer(size, 0xee);
    EXPECT_EQ(run(read_request(offset, buffer)), BlockStatus::kOk);
    return buffer.bytes();
  }
  void fill(u64 offset, u64 size, u8 value) {
    Buffer buffer(size, value);
    EXPECT_EQ(run(write_request(offset, buffer)), BlockStatus::kOk);
  }

  TemporaryFolder folder;
  std::unique_ptr<NbdServer> server;
  LoopBench bench;
  std::unique_ptr<BlockBackend> backend;
};

TEST_P(BlockBackendTest, TellsItsSize) {
  EXPECT_EQ(backend->limits().size, kDiskSize);
  EXPECT_FALSE(backend->limits().is_read_only);
}

TEST_P(BlockBackendTest, ReadsWhatWasWritten) {
  fill(8192, 4096, 0x5a);
  EXPECT_THAT(read(8192, 4096), Each(0x5a));
  EXPECT_THAT(read(4096, 4096), Each(0));
  EXPECT_THAT(read(12288, 4096), Each(0));
}

// Whoever polls gets the completions; afterwards the loop's thread does again.
TEST_P(BlockBackendTest, CompletesWhileTheLoopIsPolled) {
  {
    const std::lock_guard held(bench.lock);
    bench.loop->begin_polling();
  }
  Buffer buffer(kMiB, 0x66);
  BlockRequest request = write_request(kMiB, buffer);
  {
    const std::lock_guard held(bench.lock);
    backend->submit(request);
    backend->flush_submissions();
  }
  bool has_ended = false;
  for (int i = 0; i < 20'000 && !has_ended; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const std::lock_guard held(bench.lock);
    bench.loop->poll();
    has_ended = bench.client.succeeded() == 1;
  }
  EXPECT_TRUE(has_ended);
  {
    const std::lock_guard held(bench.lock);
    bench.loop->end_polling();
  }
  for (int i = 0; i < 100; ++i) fill(kMiB, kMiB, 0x67);
  EXPECT_THAT(read(kMiB, kMiB), Each(0x67));
}

TEST_P(BlockBackendTest, OnlyANetworkDisksBytesAreCopied) {
  fill(8192, 4096, 0x5a);
  read(8192, 8192);
  EXPECT_EQ(backend->copied_bytes(), GetParam().is_nbd ? 12288u : 0u);
}

TEST_P(BlockBackendTest, TheHostsFileHasTheBytesAfterAFlush) {
  fill(kDiskSize - 4096, 4096, 0x77);
  EXPECT_EQ(run({.operation = BlockOperation::kFlush}), BlockStatus::kOk);
  const std::vector<u8> bytes = file_bytes(folder / "disk");
  ASSERT_EQ(bytes.size(), kDiskSize);
  EXPECT_EQ(bytes[kDiskSize - 4097], 0);
  EXPECT_THAT(std::span(bytes).last(4096), Each(0x77));
}

TEST_P(BlockBackendTest, TakesSingleSectorsAnywhere) {
  fill(0, 8192, 0x11);
  fill(512 * 3, 512, 0x22);
  EXPECT_THAT(read(512 * 2, 512), Each(0x11));
  EXPECT_THAT(read(512 * 3, 512), Each(0x22));
  EXPECT_THAT(read(512 * 4, 512), Each(0x11));
}

TEST_P(BlockBackendTest, TakesMorePiecesThanOneHostCall) {
  Buffer out(kMiB, 0x33, 512);
  ASSERT_EQ(out.pieces().size(), 2048u);
  EXPECT_EQ(run(write_request(kMiB, out)), BlockStatus::kOk);
  Buffer in(kMiB, 0, 512);
  EXPECT_EQ(run(read_request(kMiB, in)), BlockStatus::kOk);
  EXPECT_THAT(in.bytes(), Each(0x33));
}

TEST_P(BlockBackendTest, TakesMemoryWithoutAlignment) {
  Buffer whole(8192, 0x44);
  const iovec pieces[] = {{whole.data() + 1, 100}, {whole.data() + 200, 412}};
  EXPECT_EQ(run({BlockOperation::kWrite, 1024, 512, pieces}), BlockStatus::kOk);
  Buffer in(8192, 0);
  const iovec room[] = {{in.data() + 3, 512}};
  EXPECT_EQ(run({BlockOperation::kRead, 1024, 512, room}), BlockStatus::kOk);
  EXPECT_THAT(std::span(in.data() + 3, 512), Each(0x44));
  EXPECT_EQ(in.data()[2], 0);
  EXPECT_EQ(in.data()[515], 0);
}

TEST_P(BlockBackendTest, MixesUnalignedWritesWithTheirNeighbours) {
  std::vector<Buffer> buffers;
  std::vector<BlockRequest> requests;
  for (u64 i = 0; i < 64; ++i) buffers.emplace_back(i % 2 == 0 ? 512 : 4096, static_cast<u8>(i + 1));
  for (u64 i = 0; i < 64; ++i) requests.push_back(write_request(8192 * (i / 2) + (i % 2) * 4096, buffers[i]));
  EXPECT_EQ(bench.client.run_all(*backend, requests), 64u);
  EXPECT_THAT(read(8192 * 10, 512), Each(21));
  EXPECT_THAT(read(8192 * 10 + 512, 4096 - 512), Each(0));
  EXPECT_THAT(read(8192 * 10 + 4096, 4096), Each(22));
}

TEST_P(BlockBackendTest, WrittenZeroesReadAsZeroes) {
  fill(0, kMiB, 0x66);
  const BlockRequest keep{.operation = BlockOperation::kWriteZeroes, .offset = 4096, .length = 3 * 4096};
  EXPECT_EQ(run(keep), BlockStatus::kOk);
  const BlockRequest unmap{
      .operation = BlockOperation::kWriteZeroes, .offset = 65536, .length = 65536 + 512, .may_unmap = true};
  EXPECT_EQ(run(unmap), BlockStatus::kOk);
  EXPECT_THAT(read(0, 4096), Each(0x66));
  EXPECT_THAT(read(4096, 3 * 4096), Each(0));
  EXPECT_THAT(read(4 * 4096, 4096), Each(0x66));
  EXPECT_THAT(read(65536, 65536 + 512), Each(0));
  EXPECT_THAT(read(2 * 65536 + 512, 512), Each(0x66));
}

TEST_P(BlockBackendTest, DiscardLeavesTheRest) {
  fill(0, kMiB, 0x66);
  EXPECT_EQ(run({.operation = BlockOperation::kDiscard, .offset = 65536, .length = 65536}), BlockStatus::kOk);
  EXPECT_THAT(read(0, 65536), Each(0x66));
  EXPECT_THAT(read(2 * 65536, 65536), Each(0x66));
  EXPECT_EQ(file_bytes(folder / "disk").size(), kDiskSize);
}

TEST_P(BlockBackendTest, ManyRequestsAtOnceAllComplete) {
  std::vector<Buffer> buffers;
  std::vector<BlockRequest> requests;
  for (u64 i = 0; i < 700; ++i) buffers.emplace_back(4096, static_cast<u8>(i));
  for (u64 i = 0; i < 700; ++i) requests.push_back(write_request(4096 * i, buffers[i]));
  EXPECT_EQ(bench.client.run_all(*backend, requests), 700u);
  EXPECT_THAT(read(4096 * 600, 4096), Each(static_cast<u8>(600)));
}

TEST_P(BlockBackendTest, DrainCompletesEverything) {
  std::vector<Buffer> buffers;
  std::vector<BlockRequest> requests;
  for (u64 i = 0; i < 300; ++i) buffers.emplace_back(8192, 1);
  for (u64 i = 0; i < 300; ++i) requests.push_back(write_request(8192 * i, buffers[i]));
  const std::lock_guard held(bench.lock);
  for (BlockRequest& request : requests) backend->submit(request);
  backend->drain();
  EXPECT_EQ(bench.client.succeeded(), 300u);
}

TEST_P(BlockBackendTest, AbandonedReadsTouchNothingAndCompleteNothing) {
  if (GetParam().waits) GTEST_SKIP() << "nothing is ever in flight";
  fill(0, kMiB, 0x99);
  Buffer buffer(kMiB, 0);
  BlockRequest request = read_request(0, buffer);
  {
    const std::lock_guard held(bench.lock);
    const std::size_t before = bench.client.ended();
    backend->submit(request);
    backend->abandon();
    std::memset(buffer.data(), 0x12, kMiB);
    EXPECT_EQ(bench.client.ended(), before);
  }
  EXPECT_THAT(read(0, 4096), Each(0x99));
  EXPECT_THAT(buffer.bytes(), Each(0x12));
}

// A reference in memory beside the disk, and one random request after another on both.
TEST_P(BlockBackendTest, BehavesLikeMemory) {
  std::mt19937_64 random(0x5eed);
  std::vector<u8> model(kDiskSize);
  for (int i = 0; i < 400; ++i) {
    const u64 length = 512 * (1 + random() % 200);
    const u64 offset = 512 * (random() % ((kDiskSize - length) / 512));
    Buffer buffer(length, static_cast<u8>(random()), 512 * (1 + random() % 20));
    switch (random() % 4) {
      case 0:
        ASSERT_EQ(run(write_request(offset, buffer)), BlockStatus::kOk);
        std::copy_n(buffer.data(), length, model.data() + offset);
        break;
      case 1: {
        const bool unmaps = random() % 2 == 0;
        ASSERT_EQ(run({BlockOperation::kWriteZeroes, offset, length, {}, unmaps}), BlockStatus::kOk);
        std::fill_n(model.data() + offset, length, 0);
        break;
      }
      default:
        ASSERT_EQ(run(read_request(offset, buffer)), BlockStatus::kOk);
        ASSERT_EQ(std::memcmp(buffer.data(), model.data() + offset, length), 0) << "request " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, BlockBackendTest,
                         testing::Values(Kind{"File"}, Kind{"DirectFile", false, true},
                                         Kind{"WaitingFile", false, false, true},
                                         Kind{"WaitingDirectFile", false, true, true}, Kind{"Nbd", true},
                                         Kind{"WaitingNbd", true, false, true}),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace doppel
