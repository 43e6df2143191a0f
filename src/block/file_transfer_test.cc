// Tests of what is asked of the host after each of its answers.
#include "block/file_transfer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/falloc.h>

#include <cerrno>

#include "block/block_bench.h"

namespace doppel {
namespace {

using Kind = FileCall::Kind;

struct FileTransferTest : testing::Test {
  TemporaryFolder folder;
  std::unique_ptr<DiskFile> file = std::move(*DiskFile::open({.path = folder.make_file("disk", kMiB)}));
  Buffer buffer{12288, 0, 4096};
  BlockRequest request = write_request(4096, buffer);
  FileTransfer transfer;

  u8* memory_at(u64 offset) { return buffer.data() + offset; }
};

TEST_F(FileTransferTest, AWholeTransferIsOneCall) {
  transfer.start(*file, request);
  const FileCall call = transfer.next();
  EXPECT_EQ(call.kind, Kind::kWrite);
  EXPECT_EQ(call.offset, 4096u);
  EXPECT_EQ(call.memory.size(), 3u);
  EXPECT_EQ(transfer.advance(12288), BlockStatus::kOk);
}

TEST_F(FileTransferTest, AShortTransferGoesOnInTheMiddleOfAPiece) {
  transfer.start(*file, request);
  transfer.next();
  EXPECT_EQ(transfer.advance(5000), std::nullopt);
  const FileCall call = transfer.next();
  EXPECT_EQ(call.offset, 4096u + 5000);
  ASSERT_EQ(call.memory.size(), 2u);
  EXPECT_EQ(call.memory[0].iov_base, memory_at(5000));
  EXPECT_EQ(call.memory[0].iov_len, 8192u - 5000);
  EXPECT_EQ(transfer.advance(12288 - 5000), BlockStatus::kOk);
}

TEST_F(FileTransferTest, NothingTransferredIsAnError) {
  transfer.start(*file, request);
  transfer.next();
  EXPECT_EQ(transfer.advance(4096), std::nullopt);
  transfer.next();
  EXPECT_EQ(transfer.advance(0), BlockStatus::kIoError);
}

TEST_F(FileTransferTest, InterruptionsAreTriedAgainButNotForEver) {
  transfer.start(*file, request);
  for (int i = 0; i < 33; ++i) {
    transfer.next();
    EXPECT_EQ(transfer.advance(-EINTR), std::nullopt);
    EXPECT_EQ(transfer.advance(-EAGAIN), std::nullopt);
    EXPECT_EQ(transfer.advance(-ECANCELED), std::nullopt);
  }
  EXPECT_EQ(transfer.advance(-EAGAIN), BlockStatus::kIoError);
}

TEST_F(FileTransferTest, HostErrorsEndTheRequest) {
  transfer.start(*file, request);
  transfer.next();
  EXPECT_EQ(transfer.advance(-ENOSPC), BlockStatus::kIoError);
}

TEST_F(FileTransferTest, ZeroesFallBackFromHolesToRangesToWrites) {
  BlockRequest zeroes{
      .operation = BlockOperation::kWriteZeroes, .offset = 512, .length = 131072 + 512, .may_unmap = true};
  transfer.start(*file, zeroes);
  EXPECT_EQ(transfer.next().mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
  EXPECT_EQ(transfer.advance(-EOPNOTSUPP), std::nullopt);
  EXPECT_EQ(transfer.next().mode, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
  EXPECT_EQ(transfer.advance(-EOPNOTSUPP), std::nullopt);
  const FileCall call = transfer.next();
  EXPECT_EQ(call.kind, Kind::kWrite);
  EXPECT_EQ(call.offset, 512u);
  ASSERT_EQ(call.memory.size(), 3u);
  EXPECT_EQ(call.memory[2].iov_len, 512u);
  EXPECT_EQ(transfer.advance(131072 + 512), BlockStatus::kOk);
  EXPECT_FALSE(file->can_punch());
  EXPECT_FALSE(file->can_zero_range());
}

TEST_F(FileTransferTest, ADiscardThatTheHostLacksIsNothing) {
  BlockRequest discard{.operation = BlockOperation::kDiscard, .offset = 0, .length = 4096};
  transfer.start(*file, discard);
  EXPECT_EQ(transfer.next().kind, Kind::kAllocate);
  EXPECT_EQ(transfer.advance(-EOPNOTSUPP), std::nullopt);
  EXPECT_EQ(transfer.next().kind, Kind::kNothing);
  EXPECT_EQ(transfer.advance(0), BlockStatus::kOk);
}

TEST_F(FileTransferTest, ZeroesThatMustStayAllocatedNeverBecomeAHole) {
  BlockRequest zeroes{.operation = BlockOperation::kWriteZeroes, .offset = 0, .length = 4096};
  transfer.start(*file, zeroes);
  EXPECT_EQ(transfer.next().mode, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
}

TEST_F(FileTransferTest, OnlyUnalignedWritesOfADirectDiskNeedToBeAlone) {
  file.reset();
  auto direct = DiskFile::open({.path = folder / "disk", .is_direct = true});
  if (!direct) GTEST_SKIP() << direct.error().message;
  transfer.start(**direct, request);
  EXPECT_FALSE(transfer.needs_exclusion());
  EXPECT_EQ(transfer.next().fd, (*direct)->direct_fd());
  request.offset = 512;
  const iovec crooked[] = {{memory_at(1), 512}};
  request.memory = crooked;
  request.length = 512;
  transfer.start(**direct, request);
  EXPECT_TRUE(transfer.needs_exclusion());
  EXPECT_EQ(transfer.next().fd, (*direct)->fd());
  request.operation = BlockOperation::kRead;
  transfer.start(**direct, request);
  EXPECT_FALSE(transfer.needs_exclusion());
}

}  // namespace
}  // namespace doppel
