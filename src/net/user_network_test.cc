// Tests of the user network with hand-made frames and real sockets on loopback.
#include "net/user_network.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "base/host_inputs.h"
#include "net/frame.h"
#include "net/net_fakes.h"

namespace doppel {
namespace {

constexpr u32 kGuest = 0x0a00020f;
constexpr u32 kGateway = 0x0a000202;
constexpr u8 kGuestMac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

void append(std::vector<u8>& out, u64 value, unsigned bytes) {
  while (bytes-- > 0) out.push_back(static_cast<u8>(value >> (8 * bytes)));
}

u32 word_at(const std::vector<u8>& frame, std::size_t offset, unsigned bytes) {
  u32 value = 0;
  for (unsigned i = 0; i < bytes; ++i) value = value << 8 | frame.at(offset + i);
  return value;
}

std::vector<u8> ethernet(u16 type) {
  std::vector<u8> frame(6, 0xff);
  frame.insert(frame.end(), kGuestMac, kGuestMac + 6);
  append(frame, type, 2);
  return frame;
}

std::vector<u8> arp_request(u32 target) {
  std::vector<u8> frame = ethernet(0x0806);
  append(frame, 0x0001080006040001, 8);
  frame.insert(frame.end(), kGuestMac, kGuestMac + 6);
  append(frame, kGuest, 4);
  append(frame, 0, 6);
  append(frame, target, 4);
  return frame;
}

// An IPv4 packet to the gateway whose UDP checksum is left to the back end; `header` says so.
std::vector<u8> udp_packet(u16 port, std::span<const u8> payload, NetHeader& header) {
  const auto length = static_cast<u16>(8 + payload.size());
  std::vector<u8> frame = ethernet(0x0800);
  append(frame, 0x4500, 2);
  append(frame, 20u + length, 2);
  append(frame, 0x0001000040110000, 8);
  append(frame, kGuest, 4);
  append(frame, kGateway, 4);
  const u16 ip_sum = static_cast<u16>(~ones_complement_sum(std::span(frame).subspan(14)));
  frame[24] = static_cast<u8>(ip_sum >> 8);
  frame[25] = static_cast<u8>(ip_sum);
  std::vector<u8> pseudo;
  append(pseudo, kGuest, 4);
  append(pseudo, kGateway, 4);
  append(pseudo, 17, 2);
  append(pseudo, length, 2);
  append(frame, 4000, 2);
  append(frame, port, 2);
  append(frame, length, 2);
  append(frame, ones_complement_sum(pseudo), 2);
  frame.insert(frame.end(), payload.begin(), payload.end());
  header = {.flags = NetHeader::kNeedsChecksum, .checksum_start = 34, .checksum_offset = 6};
  return frame;
}

// A TCP segment to the gateway without data, its checksum left to the back end as `kTcpChecksum` says.
struct TcpSegment {
  u16 port;
  u8 flags;
  u32 sequence;
  u32 acknowledged;
  u16 window;
};
constexpr NetHeader kTcpChecksum = {
    .flags = NetHeader::kNeedsChecksum, .checksum_start = 34, .checksum_offset = 16};
constexpr u8 kSyn = 2;
constexpr u8 kAck = 16;

std::vector<u8> tcp_packet(const TcpSegment& segment) {
  std::vector<u8> frame = ethernet(0x0800);
  append(frame, 0x45000028, 4);
  append(frame, 0x0001000040060000, 8);
  append(frame, kGuest, 4);
  append(frame, kGateway, 4);
  const u16 ip_sum = static_cast<u16>(~ones_complement_sum(std::span(frame).subspan(14)));
  frame[24] = static_cast<u8>(ip_sum >> 8);
  frame[25] = static_cast<u8>(ip_sum);
  std::vector<u8> pseudo;
  append(pseudo, kGuest, 4);
  append(pseudo, kGateway, 4);
  append(pseudo, 6, 2);
  append(pseudo, 20, 2);
  append(frame, 4000, 2);
  append(frame, segment.port, 2);
  append(frame, segment.sequence, 4);
  append(frame, segment.acknowledged, 4);
  append(frame, 0x5000u | segment.flags, 2);
  append(frame, segment.window, 2);
  append(frame, ones_complement_sum(pseudo), 2);
  append(frame, 0, 2);
  return frame;
}

// A socket bound to a free port of 127.0.0.1.
struct HostSocket {
  explicit HostSocket(int type) : fd(::socket(AF_INET, type, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
    EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
    port = ntohs(address.sin_port);
  }
  void connect_to(u16 other) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(other);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  UniqueFd fd;
  u16 port = 0;
};

struct UserNetworkTest : NetFixture {
  Result<void> open(const UserNetworkConfig& config = {}) {
    const std::lock_guard held(lock);
    network = TRY(UserNetwork::create(config, *loop, inputs));
    network->set_receiver(&receiver);
    return {};
  }
  void TearDown() override {
    {
      const std::lock_guard held(lock);
      network.reset();
    }
    NetFixture::TearDown();
  }
  // The guest becomes known to libslirp by asking for its neighbour.
  void announce_guest() {
    send(*network, arp_request(kGateway));
    ASSERT_TRUE(wait_frames(receiver, 1));
    receiver.frames.clear();
  }
  // Bytes of TCP data that the guest got.
  std::size_t received_data() {
    std::size_t sum = 0;
    for (const auto& frame : receiver.frames) {
      if (word_at(frame, 12, 2) == 0x0800)
        sum += word_at(frame, 16, 2) - 20 - 4 * (word_at(frame, 46, 1) >> 4);
    }
    return sum;
  }
  // The guest connects, with this window; the sequence number of the first byte that it will get.
  u32 connect_guest(u16 port, u16 window) {
    send(*network, tcp_packet({port, kSyn, 100, 0, window}), kTcpChecksum);
    EXPECT_TRUE(wait_until(receiver, [&] { return frame_with(0x0800) < receiver.frames.size(); }));
    const u32 first = word_at(receiver.frames[frame_with(0x0800)], 38, 4) + 1;
    send(*network, tcp_packet({port, kAck, 101, first, window}), kTcpChecksum);
    return first;
  }
  std::size_t frame_with(u16 type) {
    for (std::size_t i = 0; i < receiver.frames.size(); ++i) {
      if (word_at(receiver.frames[i], 12, 2) == type) return i;
    }
    return receiver.frames.size();
  }

  HostInputs inputs;
  std::unique_ptr<UserNetwork> network;
};

TEST_F(UserNetworkTest, AnswersForTheGateway) {
  ASSERT_TRUE(open());
  send(*network, arp_request(kGateway));
  ASSERT_TRUE(wait_frames(receiver, 1));
  const std::vector<u8>& reply = receiver.frames[0];
  EXPECT_EQ(word_at(reply, 12, 2), 0x0806u);
  EXPECT_EQ(word_at(reply, 20, 2), 2u);
  EXPECT_EQ(word_at(reply, 28, 4), kGateway);
}

TEST_F(UserNetworkTest, CompletesChecksumsOfWhatTheGuestSends) {
  ASSERT_TRUE(open());
  announce_guest();
  const HostSocket server(SOCK_DGRAM);
  NetHeader header;
  const u8 payload[] = {'h', 'e', 'l', 'l', 'o'};
  send(*network, udp_packet(server.port, payload, header), header);
  u8 got[16];
  ASSERT_EQ(::recv(server.fd.get(), got, sizeof(got), 0), 5);
  EXPECT_EQ(got[0], 'h');
}

TEST_F(UserNetworkTest, CopiesWhatTheGuestSendsOnce) {
  ASSERT_TRUE(open());
  const std::vector<u8> request = arp_request(kGateway);
  send(*network, request);
  ASSERT_TRUE(wait_frames(receiver, 1));
  EXPECT_EQ(network->copied_bytes(), request.size());
}

TEST_F(UserNetworkTest, TakesPacketsUpToTheMtuAndReturnsThem) {
  ASSERT_TRUE(open({.mtu = UserNetworkConfig::kMaxMtu}));
  announce_guest();
  const HostSocket server(SOCK_DGRAM);
  NetHeader header;
  const std::vector<u8> payload(60'000, 0x5a);
  send(*network, udp_packet(server.port, payload, header), header);
  std::vector<u8> got(65'536);
  sockaddr_in peer{};
  socklen_t length = sizeof(peer);
  ASSERT_EQ(
      ::recvfrom(server.fd.get(), got.data(), got.size(), 0, reinterpret_cast<sockaddr*>(&peer), &length),
      60'000);
  ASSERT_EQ(::sendto(server.fd.get(), got.data(), 60'000, 0, reinterpret_cast<sockaddr*>(&peer), length),
            60'000);
  ASSERT_TRUE(wait_until(receiver, [&] { return frame_with(0x0800) < receiver.frames.size(); }));
  EXPECT_EQ(receiver.frames[frame_with(0x0800)].size(), 14u + 28 + 60'000);
}

TEST_F(UserNetworkTest, MarksFramesAsValidOnlyForDriversThatAskedForIt) {
  ASSERT_TRUE(open());
  send(*network, arp_request(kGateway));
  ASSERT_TRUE(wait_frames(receiver, 1));
  EXPECT_EQ(receiver.headers.back().flags, 0);
  network->configure({.offloads = {.checksum = true}});
  send(*network, arp_request(kGateway));
  EXPECT_EQ(receiver.headers.back().flags, NetHeader::kDataValid);
}

TEST_F(UserNetworkTest, WhatWaitsOutsideGoesWithTheRestOfWhatWasRead) {
  ASSERT_TRUE(open());
  announce_guest();
  const HostSocket server(SOCK_STREAM);
  ASSERT_EQ(::listen(server.fd.get(), 1), 0);
  const u32 first = connect_guest(server.port, 2000);
  const UniqueFd peer(::accept(server.fd.get(), nullptr, nullptr));
  const std::vector<u8> data(5000);
  ASSERT_EQ(::send(peer.get(), data.data(), 3000, 0), 3000);
  ASSERT_TRUE(wait_until(receiver, [&] { return received_data() == 2000; }));
  loop->stop();
  ASSERT_EQ(::send(peer.get(), data.data(), 5000, 0), 5000);
  send(*network, tcp_packet({server.port, kAck, 101, first + 2000, 60'000}), kTcpChecksum);
  EXPECT_EQ(received_data(), 8000u);
}

TEST_F(UserNetworkTest, ForwardsAPortOfTheHost) {
  const HostSocket free_port(SOCK_STREAM);
  const u16 port = free_port.port;
  const_cast<HostSocket&>(free_port).fd.reset();
  ASSERT_TRUE(open({.forwards = {{.host_address = INADDR_LOOPBACK, .host_port = port, .guest_port = 22}}}));
  announce_guest();
  HostSocket client(SOCK_STREAM);
  client.connect_to(port);
  // First an ARP request for the guest, or at once the SYN.
  ASSERT_TRUE(wait_until(receiver, [&] { return frame_with(0x0800) < receiver.frames.size(); }));
  const std::vector<u8>& syn = receiver.frames[frame_with(0x0800)];
  EXPECT_EQ(word_at(syn, 30, 4), kGuest);
  EXPECT_EQ(word_at(syn, 36, 2), 22u);
  EXPECT_EQ(syn[47] & 0x3f, 0x02);
}

TEST_F(UserNetworkTest, APortInUseIsOneClearLine) {
  const HostSocket taken(SOCK_STREAM);
  ASSERT_EQ(::listen(taken.fd.get(), 1), 0);
  const Result<void> result =
      open({.forwards = {{.host_address = INADDR_LOOPBACK, .host_port = taken.port, .guest_port = 22}}});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message,
            fmt::format("--net user: cannot forward tcp port {} of 127.0.0.1: Address "
                        "already in use",
                        taken.port));
}

TEST_F(UserNetworkTest, KeepsFramesWhileTheGuestHasNoRoomUpToALimit) {
  ASSERT_TRUE(open());
  receiver.room = 0;
  for (int i = 0; i < 3; ++i) send(*network, arp_request(kGateway));
  EXPECT_EQ(receiver.frames.size(), 0u);
  receiver.room = 2;
  const std::lock_guard held(lock);
  network->receive_ready(0);
  EXPECT_EQ(receiver.frames.size(), 2u);
  receiver.room = 2;
  network->receive_ready(0);
  EXPECT_EQ(receiver.frames.size(), 3u);
}

TEST(FrameBacklog, DropsWhatExceedsItsLimit) {
  CollectingReceiver receiver;
  receiver.room = 0;
  FrameBacklog backlog;
  const std::vector<u8> frame(60'000);
  for (int i = 0; i < 20; ++i) backlog.deliver(receiver, {}, frame);
  EXPECT_EQ(backlog.dropped(), 3u);  // 17 times 60,000 fit into 1 MiB
  receiver.room = 100;
  backlog.retry(receiver);
  EXPECT_EQ(receiver.frames.size(), 17u);
  EXPECT_TRUE(backlog.is_empty());
  EXPECT_EQ(backlog.copied_bytes(), 17 * frame.size());
}

TEST_F(UserNetworkTest, SurvivesNonsense) {
  ASSERT_TRUE(open());
  send(*network, {});
  send(*network, {1, 2, 3});
  send(*network, ethernet(0x0800));
  send(*network, ethernet(0x86dd));
  send(*network, ethernet(0x0806));
  send(*network, std::vector<u8>(kMaxFrameSize + 1));
  send(*network, std::vector<u8>(100), {.flags = 1, .checksum_start = 0xffff, .checksum_offset = 0xffff});
  send(*network, arp_request(kGateway));
  EXPECT_TRUE(wait_frames(receiver, 1));
}

}  // namespace
}  // namespace doppel
