// Tests of servers that refuse, fail and go away.
#include "block/nbd_backend.h"

#include <gmock/gmock.h>

#include "block/nbd_server.h"

namespace doppel {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct NbdBackendTest : testing::Test {
  void TearDown() override {
    const std::lock_guard held(bench.lock);
    backend.reset();
  }
  void serve(std::vector<std::string> arguments) {
    server = std::make_unique<NbdServer>(std::move(arguments));
    if (!server->is_installed()) GTEST_SKIP() << "nbdkit is not installed";
    ASSERT_TRUE(server->is_running());
  }
  std::string open(bool is_read_only = false) {
    auto opened = NbdBackend::create(server->uri(), is_read_only, bench.loop.get());
    if (!opened) return opened.error().message;
    const std::lock_guard held(bench.lock);
    backend = std::move(*opened);
    backend->set_client(bench.client);
    return "";
  }
  BlockStatus run(const BlockRequest& request) { return bench.client.run(*backend, request); }

  std::unique_ptr<NbdServer> server;
  LoopBench bench;
  std::unique_ptr<BlockBackend> backend;
};

TEST_F(NbdBackendTest, SaysInOneLineThatNobodyAnswers) {
  const auto opened = NbdBackend::create("nbd+unix:///?socket=/nonexistent/socket", false, bench.loop.get());
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, StartsWith("disk 'nbd+unix:///?socket=/nonexistent/socket': "));
  EXPECT_THAT(opened.error().message, HasSubstr("No such file"));
  EXPECT_EQ(opened.error().message.find('\n'), std::string::npos);
}

TEST_F(NbdBackendTest, AServerForReadingNeedsAReadOnlyDisk) {
  serve({"-r", "memory", "1M"});
  if (IsSkipped()) return;
  EXPECT_THAT(open(), HasSubstr("readonly=on"));
  EXPECT_EQ(open(true), "");
  EXPECT_TRUE(backend->limits().is_read_only);
}

TEST_F(NbdBackendTest, RefusesHalfASector) {
  serve({"memory", "1000"});
  if (IsSkipped()) return;
  EXPECT_THAT(open(), HasSubstr("1000 bytes are not a multiple of 512"));
}

TEST_F(NbdBackendTest, OffersOnlyWhatTheServerCan) {
  serve({"--filter=nozero", "memory", "1M", "zeromode=none"});
  if (IsSkipped()) return;
  ASSERT_EQ(open(), "");
  EXPECT_FALSE(backend->limits().can_write_zeroes);
  EXPECT_TRUE(backend->limits().can_discard);
}

TEST_F(NbdBackendTest, AnErrorOfTheServerFailsTheRequestAndNoOther) {
  serve({"--filter=error", "memory", "1M", "error-pread=EIO", "error-pread-rate=100%"});
  if (IsSkipped()) return;
  ASSERT_EQ(open(), "");
  Buffer buffer(kMiB, 1);
  EXPECT_EQ(run(read_request(0, buffer)), BlockStatus::kIoError);
  EXPECT_EQ(run(write_request(0, buffer)), BlockStatus::kOk);
  EXPECT_EQ(run(read_request(0, buffer)), BlockStatus::kIoError);
}

TEST_F(NbdBackendTest, AServerThatGoesAwayFailsWhatIsOnItsWayAndWhatFollows) {
  serve({"--filter=delay", "memory", "1M", "delay-read=60"});
  if (IsSkipped()) return;
  ASSERT_EQ(open(), "");
  Buffer buffer(kMiB, 1);
  BlockRequest request = read_request(0, buffer);
  {
    const std::lock_guard held(bench.lock);
    backend->submit(request);
    backend->flush_submissions();
  }
  server->kill();
  Buffer other(4096, 1);
  BlockRequest later = write_request(0, other);
  std::array<BlockRequest, 1> requests = {later};
  EXPECT_EQ(bench.client.run_all(*backend, requests), 0u);
  EXPECT_EQ(run(later), BlockStatus::kIoError);
}

TEST_F(NbdBackendTest, AStuckServerDoesNotHoldUpTheEnd) {
  serve({"--filter=delay", "memory", "1M", "delay-read=60"});
  if (IsSkipped()) return;
  ASSERT_EQ(open(), "");
  Buffer buffer(kMiB, 1);
  BlockRequest request = read_request(0, buffer);
  const std::lock_guard held(bench.lock);
  backend->submit(request);
  backend->flush_submissions();
  backend->abandon();
  backend.reset();
  EXPECT_EQ(bench.client.ended(), 0u);
}

}  // namespace
}  // namespace doppel
