// The debugger's server over a real socket.
#include "front/gdb/server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "front/gdb/fake_debug_machine.h"
#include "front/gdb/listen.h"

namespace doppel::gdb {
namespace {

class GdbServerTest : public testing::Test {
 protected:
  GdbServerTest()
      : path_(testing::TempDir() + "doppel_gdb_test_" + std::to_string(::getpid())),
        server_(std::move(*GdbServer::create("unix:" + path_))) {
    server_->start(machine_.port());
    connect();
  }
  void connect() {
    sockaddr_un where = {};
    where.sun_family = AF_UNIX;
    std::strncpy(where.sun_path, path_.c_str(), sizeof(where.sun_path) - 1);
    peer_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::connect(peer_.get(), reinterpret_cast<sockaddr*>(&where), sizeof(where)), 0);
  }
  void write(std::string_view text) {
    ASSERT_EQ(::send(peer_.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // What arrives until it ends with `end`, or the connection does.
  std::string read_until(std::string_view end) {
    std::string text;
    while (!text.ends_with(end)) {
      char character;
      pollfd wait{peer_.get(), POLLIN, 0};
      if (::poll(&wait, 1, 5000) != 1 || ::read(peer_.get(), &character, 1) != 1) break;
      text += character;
    }
    return text;
  }

  FakeDebugMachine machine_;
  std::string path_;
  std::unique_ptr<GdbServer> server_;
  UniqueFd peer_;
};

TEST_F(GdbServerTest, AcknowledgesAndAnswers) {
  write("$qC#b4");
  EXPECT_EQ(read_until("#c5"), "+$QC1#c5");
}

TEST_F(GdbServerTest, AsksForDamagedPacketsAgainAndRepeatsItsOwn) {
  write("$qC#00");
  EXPECT_EQ(read_until("-"), "-");
  write("$qC#b4");
  read_until("#c5");
  write("-");
  EXPECT_EQ(read_until("#c5"), "$QC1#c5");
}

TEST_F(GdbServerTest, StopsAcknowledgingWhenAsked) {
  write("$QStartNoAckMode#b0");
  EXPECT_EQ(read_until("#9a"), "+$OK#9a");
  write("$qC#b4");
  EXPECT_EQ(read_until("#c5"), "$QC1#c5");
}

TEST_F(GdbServerTest, ReportsStopsOfTheMachine) {
  write("$c#63");
  EXPECT_EQ(read_until("+"), "+");
  server_->stopped({.is_end = false, .cpu = 1, .hit = {}});
  EXPECT_EQ(read_until("#"), "$T05thread:2;#");
}

TEST_F(GdbServerTest, PeerThatGoesAwayDetaches) {
  write("$qC#b4");
  read_until("#c5");
  peer_.reset();
  connect();  // served once the first connection is over
  write("$qC#b4");
  EXPECT_EQ(read_until("#c5"), "+$QC1#c5");
  EXPECT_TRUE(machine_.is_detached);
}

TEST(GdbListen, RefusesWhatIsNoAddress) {
  EXPECT_FALSE(listen_at("1234"));
  EXPECT_FALSE(listen_at("tcp:1234"));
  EXPECT_FALSE(listen_at("tcp:127.0.0.1:99999"));
  EXPECT_FALSE(listen_at("tcp:nobody.example:1"));
  EXPECT_FALSE(listen_at("unix:"));
}

TEST(GdbListen, TellsTheChosenPort) {
  const Result<ListeningSocket> socket = listen_at("tcp:localhost:0");
  ASSERT_TRUE(socket);
  EXPECT_NE(socket->address, "tcp:127.0.0.1:0");
}

}  // namespace
}  // namespace doppel::gdb
