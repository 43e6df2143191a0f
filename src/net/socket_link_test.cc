// Tests of socket links with each other and with hostile peers.
#include "net/socket_link.h"

#include <sys/socket.h>
#include <cstdlib>

#include "base/host_inputs.h"
#include "net/net_fakes.h"
#include "net/unix_socket.h"

namespace doppel {
namespace {

struct SocketLinkTest : NetFixture {
  void SetUp() override {
    NetFixture::SetUp();
    char name[] = "/tmp/doppel-link-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory = name;
    path = directory + "/link";
  }
  void TearDown() override {
    {
      const std::lock_guard held(lock);
      listener.reset();
      connector.reset();
    }
    NetFixture::TearDown();
    ::unlink(path.c_str());
    ::rmdir(directory.c_str());
  }
  std::unique_ptr<SocketLink> open(bool is_listening, CollectingReceiver& who) {
    const std::lock_guard held(lock);
    auto link = SocketLink::create({.path = path, .is_listening = is_listening}, *loop, inputs);
    if (!link) return nullptr;
    (*link)->set_receiver(&who);
    return std::move(*link);
  }
  void close(std::unique_ptr<SocketLink>& link) {
    const std::lock_guard held(lock);
    link.reset();
  }
  bool wait_link(CollectingReceiver& who, bool is_up) {
    return wait_until(who, [&, is_up] { return who.link_up == is_up && who.link_changes > 0; });
  }
  void connect_both() {
    listener = open(true, receiver);
    connector = open(false, other);
    ASSERT_TRUE(wait_link(receiver, true));
    ASSERT_TRUE(connector->is_link_up());
  }
  // A peer that is not one of ours.
  UniqueFd connect_stranger() {
    listener = open(true, receiver);
    UniqueFd stranger = connect_unix(path);
    EXPECT_TRUE(wait_link(receiver, true));
    return stranger;
  }
  static void send_bytes(const UniqueFd& fd, const std::vector<u8>& bytes) {
    ASSERT_EQ(::send(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }

  HostInputs inputs;
  std::string directory;
  std::string path;
  CollectingReceiver other;
  std::unique_ptr<SocketLink> listener;
  std::unique_ptr<SocketLink> connector;
};

TEST_F(SocketLinkTest, CarriesFramesBothWays) {
  connect_both();
  send(*connector, test_frame(60, 1));
  send(*connector, test_frame(kMaxFrameSize, 2));
  send(*listener, test_frame(1000, 3));
  ASSERT_TRUE(wait_frames(receiver, 2));
  ASSERT_TRUE(wait_frames(other, 1));
  EXPECT_EQ(receiver.frames[0], test_frame(60, 1));
  EXPECT_EQ(receiver.frames[1], test_frame(kMaxFrameSize, 2));
  EXPECT_EQ(other.frames[0], test_frame(1000, 3));
}

TEST_F(SocketLinkTest, WhatTheSocketDoesNotTakeAtOnceFollowsLater) {
  connect_both();
  {
    const std::lock_guard held(lock);
    receiver.room = 0;
  }
  for (int i = 0; i < 20; ++i) send(*connector, test_frame(60'000, static_cast<u8>(i)));
  ASSERT_TRUE(wait_until(receiver, [&] { return receiver.refused > 0; }));
  {
    const std::lock_guard held(lock);
    receiver.room = 1000;
    listener->receive_ready(0);
  }
  ASSERT_TRUE(wait_frames(receiver, 20));
  EXPECT_EQ(receiver.frames[19], test_frame(60'000, 19));
}

TEST_F(SocketLinkTest, DropsWhenThePeerTakesNothingForLong) {
  connect_both();
  const std::lock_guard held(lock);  // the event loop rests
  const std::vector<u8> frame = test_frame(60'000, 1);
  const iovec piece{const_cast<u8*>(frame.data()), frame.size()};
  for (int i = 0; i < 100; ++i) connector->send(0, {}, {&piece, 1});
  EXPECT_GT(connector->dropped(), 10u);
}

TEST_F(SocketLinkTest, TheLinkGoesDownWithThePeerAndUpWithTheNext) {
  connect_both();
  close(connector);
  ASSERT_TRUE(wait_link(receiver, false));
  send(*listener, test_frame(60, 1));
  connector = open(false, other);
  ASSERT_TRUE(wait_link(receiver, true));
  send(*listener, test_frame(60, 2));
  ASSERT_TRUE(wait_frames(other, 1));
  EXPECT_EQ(other.frames[0], test_frame(60, 2));
}

TEST_F(SocketLinkTest, ConnectsOnceSomebodyListens) {
  connector = open(false, other);
  ASSERT_NE(connector, nullptr);
  EXPECT_FALSE(connector->is_link_up());
  listener = open(true, receiver);
  EXPECT_TRUE(wait_link(other, true));
}

TEST_F(SocketLinkTest, ReadsFramesInPieces) {
  const UniqueFd stranger = connect_stranger();
  send_bytes(stranger, {0, 0});
  send_bytes(stranger, {0, 20, 1, 2, 3});
  send_bytes(stranger, std::vector<u8>(17, 9));
  ASSERT_TRUE(wait_frames(receiver, 1));
  EXPECT_EQ(receiver.frames[0].size(), 20u);
  EXPECT_EQ(receiver.frames[0][2], 3);
}

TEST_F(SocketLinkTest, APeerThatSendsAnImpossibleLengthIsCutOff) {
  const UniqueFd stranger = connect_stranger();
  send_bytes(stranger, {0xff, 0xff, 0xff, 0xff, 1, 2, 3});
  EXPECT_TRUE(wait_link(receiver, false));
  u8 byte;
  EXPECT_LE(::recv(stranger.get(), &byte, 1, 0), 0);
}

TEST_F(SocketLinkTest, AnAbandonedSocketIsReplacedAndAnyOtherFileIsNot) {
  {
    const auto abandoned = listen_unix("--net socket", path);
  }
  listener = open(true, receiver);
  EXPECT_NE(listener, nullptr);
  const std::lock_guard held(lock);
  const auto second = SocketLink::create({.path = path, .is_listening = true}, *loop, inputs);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message,
            fmt::format("--net socket: cannot listen at {}: Address already in use", path));
}

}  // namespace
}  // namespace doppel
