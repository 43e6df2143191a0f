// Tests of what is refused as a disk, of locks, and of files that fail while in use.
#include "block/disk_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>

#include "block/block_bench.h"
#include "block/open_disk.h"
#include "block/sync_file_backend.h"

namespace doppel {
namespace {

using testing::Each;
using testing::EndsWith;
using testing::HasSubstr;

std::string error_of(const DiskFileOptions& options) {
  const auto file = DiskFile::open(options);
  if (file) return "";
  EXPECT_EQ(file.error().message.find('\n'), std::string::npos);
  return file.error().message;
}

TEST(DiskFile, RefusesWhatIsNoDisk) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of({.path = folder / "missing"}), EndsWith("missing': No such file or directory"));
  EXPECT_THAT(error_of({.path = folder / ""}), EndsWith("Is a directory"));
  EXPECT_THAT(error_of({.path = folder / "", .is_read_only = true}), EndsWith("is a directory"));
  EXPECT_THAT(error_of({.path = "/dev/zero"}), EndsWith("is neither a file nor a block device"));
  EXPECT_THAT(error_of({.path = folder.make_file("empty", 0)}), EndsWith("is empty"));
  EXPECT_THAT(error_of({.path = folder.make_file("odd", 1000)}),
              EndsWith("1000 bytes are not a multiple of 512"));
}

TEST(DiskFile, RefusesAFifoWithoutWaiting) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(error_of({.path = folder / "fifo"}), EndsWith("is neither a file nor a block device"));
}

TEST(DiskFile, SaysHowToUseAFileThatMayOnlyBeRead) {
  const TemporaryFolder folder;
  const std::string path = folder.make_file("disk", 4096);
  ASSERT_EQ(::chmod(path.c_str(), 0400), 0);
  if (::geteuid() == 0) GTEST_SKIP() << "root writes every file";
  EXPECT_THAT(error_of({.path = path}), EndsWith("Permission denied; readonly=on needs no write access"));
  EXPECT_EQ(error_of({.path = path, .is_read_only = true}), "");
}

TEST(DiskFile, OneWriterKeepsEverybodyElseOut) {
  const TemporaryFolder folder;
  const std::string path = folder.make_file("disk", 4096);
  auto writer = DiskFile::open({.path = path});
  ASSERT_TRUE(writer);
  EXPECT_THAT(error_of({.path = path}), EndsWith("is in use by another machine or program"));
  EXPECT_THAT(error_of({.path = path, .is_read_only = true}),
              EndsWith("is in use by another machine or program"));
  writer->reset();
  EXPECT_EQ(error_of({.path = path}), "");
}

TEST(DiskFile, ReadersShare) {
  const TemporaryFolder folder;
  const std::string path = folder.make_file("disk", 4096);
  const auto reader = DiskFile::open({.path = path, .is_read_only = true});
  ASSERT_TRUE(reader);
  EXPECT_EQ(error_of({.path = path, .is_read_only = true}), "");
  EXPECT_THAT(error_of({.path = path}), HasSubstr("in use"));
}

TEST(DiskFile, LocksAreHeldByEachOpenDisk) {
  const TemporaryFolder folder;
  const std::string path = folder.make_file("disk", 4096);
  auto first = DiskFile::open({.path = path, .is_read_only = true});
  auto second = DiskFile::open({.path = path, .is_read_only = true});
  second->reset();
  EXPECT_THAT(error_of({.path = path}), HasSubstr("in use"));
}

// Failures of the host, seen through both back ends.
class FailingFileTest : public testing::TestWithParam<bool> {
 protected:
  void TearDown() override {
    const std::lock_guard held(bench.lock);
    backend.reset();
  }
  void open(const std::string& path) {
    auto opened = open_disk({.target = path}, GetParam() ? nullptr : bench.loop.get());
    ASSERT_TRUE(opened) << opened.error().message;
    const std::lock_guard held(bench.lock);
    backend = std::move(*opened);
    backend->set_client(bench.client);
  }
  BlockStatus run(const BlockRequest& request) { return bench.client.run(*backend, request); }

  LoopBench bench;
  std::unique_ptr<BlockBackend> backend;
};

TEST_P(FailingFileTest, AFileThatShrankGivesErrorsBeyondItsEnd) {
  const TemporaryFolder folder;
  const std::string path = folder.make_file("disk", kMiB);
  open(path);
  ASSERT_EQ(::truncate(path.c_str(), 6144), 0);
  Buffer buffer(8192);
  EXPECT_EQ(run(read_request(65536, buffer)), BlockStatus::kIoError);
  EXPECT_EQ(run(read_request(0, buffer)), BlockStatus::kIoError);
  Buffer small(4096);
  EXPECT_EQ(run(read_request(0, small)), BlockStatus::kOk);
}

TEST_P(FailingFileTest, AFullFileSystemGivesErrorsAndWorksAgain) {
  const TemporaryFolder folder;
  const std::string mountpoint = folder / "";
  if (::mount("none", mountpoint.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "cannot mount a small file system: " << std::strerror(errno);
  }
  open(folder.make_file("disk", kMiB));
  Buffer large(256 * kKiB, 0x11);
  EXPECT_EQ(run(write_request(0, large)), BlockStatus::kIoError);
  EXPECT_EQ(run({.operation = BlockOperation::kDiscard, .offset = 0, .length = kMiB}), BlockStatus::kOk);
  Buffer small(4096, 0x22);
  EXPECT_EQ(run(write_request(0, small)), BlockStatus::kOk);
  {
    const std::lock_guard held(bench.lock);
    backend->drain();
    backend = std::make_unique<SyncFileBackend>(std::unique_ptr<DiskFile>());
  }
  EXPECT_EQ(::umount2(mountpoint.c_str(), MNT_DETACH), 0);
}

TEST_P(FailingFileTest, AWriteBeyondTheFileSizeLimitIsAnError) {
  const TemporaryFolder folder;
  open(folder.make_file("disk", kMiB));
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 65536;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  Buffer buffer(8192, 0x11);
  const BlockStatus beyond = run(write_request(131072, buffer));
  const BlockStatus across = run(write_request(65536 - 4096, buffer));
  const BlockStatus inside = run(write_request(0, buffer));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(beyond, BlockStatus::kIoError);
  EXPECT_EQ(across, BlockStatus::kIoError);
  EXPECT_EQ(inside, BlockStatus::kOk);
}

INSTANTIATE_TEST_SUITE_P(Waiting, FailingFileTest, testing::Bool(),
                         [](const auto& row) { return row.param ? "Yes" : "No"; });

}  // namespace
}  // namespace doppel
