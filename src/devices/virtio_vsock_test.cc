// Tests of the socket device with real Unix sockets and a driver that plays the guest.
#include "devices/virtio_vsock.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <cstdlib>

#include "net/unix_socket.h"
#include "state/state_buffer.h"
#include "virtio/test_driver.h"

namespace doppel {
namespace {

constexpr u64 kCid = 5;
constexpr u32 kGuestPort = 7777;

struct Received {
  VsockHeader header;
  std::string payload;
};

// The event loop is not a thread here: poll_once() plays it.
class VirtioVsockTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    char name[] = "/tmp/doppel-vsock-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    path_ = directory_ + "/v";
    loop_ = std::move(*EventLoop::create(lock_));
    auto device = VirtioVsock::create({.path = path_, .guest_cid = kCid}, *loop_);
    ASSERT_TRUE(device) << device.error().message;
    device_ = std::move(*device);
    core_ = std::make_unique<VirtioTransportCore>(*memory_, *device_, VirtioOptions{.has_packed = true},
                                                  interrupts_);
    driver_ = std::make_unique<TestDriver>(*memory_, *core_);
    ASSERT_TRUE(driver_->start(~u64{0} & ~(GetParam() ? 0 : kVirtioFRingPacked)));
    for (int i = 0; i < 64; ++i) offer_buffer(4096);
    loop_->start();
  }
  void TearDown() override {
    loop_->stop();
    driver_.reset();
    core_.reset();
    device_.reset();
    ::unlink((path_ + "_80").c_str());
    EXPECT_EQ(::rmdir(directory_.c_str()), 0);
  }

  void offer_buffer(u32 size) {
    const TestPiece piece = driver_->writable(size);
    buffers_[driver_->send(0, {piece})] = piece;
  }
  // The next packet to the guest.
  Received take() {
    for (int i = 0; i < 1000; ++i) {
      {
        const std::lock_guard held(lock_);
        if (const auto used = driver_->take(0)) {
          Received packet{*memory_->read_value<VsockHeader>(buffers_[used->id].address), {}};
          EXPECT_EQ(used->written, sizeof(VsockHeader) + packet.header.length);
          packet.payload =
              driver_->text(buffers_[used->id].address + sizeof(VsockHeader), packet.header.length);
          return packet;
        }
      }
      ::usleep(5000);
    }
    ADD_FAILURE() << "no packet for the guest";
    return {};
  }
  bool has_packet() {
    ::usleep(20'000);
    const std::lock_guard held(lock_);
    return driver_->take(0).has_value();
  }
  void send(VsockOperation operation, u32 host_port, const std::string& payload = {}, u32 flags = 0,
            u32 forwarded = 0, u32 buffer_size = 65536) {
    const std::lock_guard held(lock_);
    const VsockHeader header{.source_cid = kCid,
                             .destination_cid = kVsockHostCid,
                             .source_port = kGuestPort,
                             .destination_port = host_port,
                             .length = static_cast<u32>(payload.size()),
                             .operation = operation,
                             .flags = flags,
                             .buffer_size = buffer_size,
                             .forwarded = forwarded};
    driver_->send(1, {driver_->readable_value(header), driver_->readable(payload)});
    while (driver_->take(1)) {
    }
  }
  void send_raw(const VsockHeader& header) {
    const std::lock_guard held(lock_);
    driver_->send(1, {driver_->readable_value(header)});
  }
  static std::string read(const UniqueFd& socket, std::size_t size) {
    std::string text(size, '\0');
    std::size_t filled = 0;
    pollfd wait{socket.get(), POLLIN, 0};
    while (filled < size && ::poll(&wait, 1, 5000) == 1) {
      const ssize_t got = ::recv(socket.get(), text.data() + filled, size - filled, 0);
      if (got <= 0) break;
      filled += static_cast<std::size_t>(got);
    }
    text.resize(filled);
    return text;
  }
  static void write(const UniqueFd& socket, const std::string& text) {
    ASSERT_EQ(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // A connection from the host that the guest has accepted; `host_port` is its end here.
  UniqueFd connect_from_host(u32& host_port) {
    UniqueFd client = connect_unix(path_);
    write(client, fmt::format("CONNECT {}\n", kGuestPort));
    const Received request = take();
    EXPECT_EQ(request.header.operation, VsockOperation::kRequest);
    EXPECT_EQ(request.header.destination_port, kGuestPort);
    host_port = request.header.source_port;
    send(VsockOperation::kResponse, host_port);
    const std::string answer = fmt::format("OK {}\n", host_port);
    EXPECT_EQ(read(client, answer.size()), answer);
    return client;
  }
  // A connection of the guest to port 80.
  UniqueFd connect_from_guest() {
    const UniqueFd server = std::move(*listen_unix("test", path_ + "_80"));
    send(VsockOperation::kRequest, 80);
    EXPECT_EQ(take().header.operation, VsockOperation::kResponse);
    return accept_unix(server.get());
  }

  std::mutex lock_;
  std::string directory_;
  std::string path_;
  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::create(64 * kMiB);
  std::unique_ptr<EventLoop> loop_;
  FakeVirtioInterrupts interrupts_;
  std::unique_ptr<VirtioVsock> device_;
  std::unique_ptr<VirtioTransportCore> core_;
  std::unique_ptr<TestDriver> driver_;
  std::map<u16, TestPiece> buffers_;
};

TEST_P(VirtioVsockTest, ShowsItsContextIdentifier) {
  u64 cid = 0;
  core_->read_config(0, {reinterpret_cast<u8*>(&cid), sizeof(cid)});
  EXPECT_EQ(cid, kCid);
}

TEST_P(VirtioVsockTest, AHostProgramReachesAPortOfTheGuest) {
  u32 port = 0;
  const UniqueFd client = connect_from_host(port);
  write(client, "hello");
  const Received data = take();
  EXPECT_EQ(data.header.operation, VsockOperation::kData);
  EXPECT_EQ(data.payload, "hello");
  send(VsockOperation::kData, port, "world", 0, 5);
  EXPECT_EQ(read(client, 5), "world");
}

TEST_P(VirtioVsockTest, AGuestProgramReachesASocketOfTheHost) {
  const UniqueFd server = connect_from_guest();
  send(VsockOperation::kData, 80, "ping");
  EXPECT_EQ(read(server, 4), "ping");
  write(server, "pong");
  EXPECT_EQ(take().payload, "pong");
}

TEST_P(VirtioVsockTest, NobodyListensMeansReset) {
  send(VsockOperation::kRequest, 81);
  const Received answer = take();
  EXPECT_EQ(answer.header.operation, VsockOperation::kReset);
  EXPECT_EQ(answer.header.source_port, 81u);
  EXPECT_EQ(answer.header.destination_port, kGuestPort);
}

TEST_P(VirtioVsockTest, AGuestThatRefusesClosesTheClient) {
  const UniqueFd client = connect_unix(path_);
  write(client, "CONNECT 9\n");
  const VsockHeader request = take().header;
  const std::lock_guard held(lock_);
  driver_->send(1, {driver_->readable_value(VsockHeader{.source_cid = kCid,
                                                        .destination_cid = kVsockHostCid,
                                                        .source_port = 9,
                                                        .destination_port = request.source_port,
                                                        .operation = VsockOperation::kReset})});
  EXPECT_EQ(read(client, 1), "");
  EXPECT_EQ(device_->connections(), 0u);
}

TEST_P(VirtioVsockTest, SendsNoMoreThanTheGuestHasRoomFor) {
  u32 port = 0;
  const UniqueFd client = connect_from_host(port);
  send(VsockOperation::kCreditUpdate, port, {}, 0, 0, 6);
  write(client, "0123456789");
  EXPECT_EQ(take().payload, "012345");
  EXPECT_EQ(take().header.operation, VsockOperation::kCreditRequest);
  EXPECT_FALSE(has_packet());
  send(VsockOperation::kCreditUpdate, port, {}, 0, 6, 6);
  EXPECT_EQ(take().payload, "6789");
}

TEST_P(VirtioVsockTest, HoldsWhatTheHostDoesNotReadWithinTheGuestsCredit) {
  const UniqueFd server = connect_from_guest();
  const std::string block(32 * 1024, 'x');
  // The host's socket takes some of it; then the credit is used up, and more breaks the rules.
  std::size_t sent = 0;
  while (device_->connections() == 1 && sent < 100) {
    send(VsockOperation::kData, 80, block);
    ++sent;
  }
  EXPECT_LT(sent, 100u);
  Received packet = take();
  while (packet.header.operation == VsockOperation::kCreditUpdate) packet = take();
  EXPECT_EQ(packet.header.operation, VsockOperation::kReset);
}

TEST_P(VirtioVsockTest, TellsTheGuestOfFreedRoom) {
  const UniqueFd server = connect_from_guest();
  const std::string block(48 * 1024, 'x');
  for (int i = 0; i < 4; ++i) {
    send(VsockOperation::kData, 80, block);
    EXPECT_EQ(read(server, block.size()).size(), block.size());
  }
  const Received update = take();
  EXPECT_EQ(update.header.operation, VsockOperation::kCreditUpdate);
  EXPECT_GE(update.header.forwarded, VsockConnection::kBufferSize / 2);
  EXPECT_EQ(update.header.buffer_size, VsockConnection::kBufferSize);
  send(VsockOperation::kCreditRequest, 80);
  EXPECT_EQ(take().header.forwarded, 4 * block.size());
}

TEST_P(VirtioVsockTest, ClosingByTheGuestIsConfirmed) {
  u32 port = 0;
  const UniqueFd client = connect_from_host(port);
  send(VsockOperation::kData, port, "last");
  send(VsockOperation::kShutdown, port, {}, VsockHeader::kNoReceive | VsockHeader::kNoSend);
  EXPECT_EQ(take().header.operation, VsockOperation::kReset);
  EXPECT_EQ(read(client, 10), "last");
  EXPECT_EQ(device_->connections(), 0u);
}

TEST_P(VirtioVsockTest, AHalfClosedGuestStillReceives) {
  u32 port = 0;
  const UniqueFd client = connect_from_host(port);
  send(VsockOperation::kShutdown, port, {}, VsockHeader::kNoSend);
  EXPECT_EQ(read(client, 1), "");
  write(client, "more");
  EXPECT_EQ(take().payload, "more");
}

TEST_P(VirtioVsockTest, ClosingByTheHostReachesTheGuestBehindTheData) {
  u32 port = 0;
  UniqueFd client = connect_from_host(port);
  write(client, "bye");
  client.reset();
  EXPECT_EQ(take().payload, "bye");
  const Received end = take();
  EXPECT_EQ(end.header.operation, VsockOperation::kShutdown);
  EXPECT_EQ(end.header.flags, VsockHeader::kNoReceive | VsockHeader::kNoSend);
  send(VsockOperation::kReset, port);
  EXPECT_EQ(device_->connections(), 0u);
}

TEST_P(VirtioVsockTest, WaitsForTheGuestsBuffers) {
  u32 port = 0;
  const UniqueFd client = connect_from_host(port);
  send(VsockOperation::kCreditUpdate, port, {}, 0, 0, 10'000'000);
  // All but a few of the 64 buffers go to answers.
  for (int i = 0; i < 55; ++i) send(VsockOperation::kData, 99, "x");
  for (int i = 0; i < 55; ++i) take();
  const std::string much(200'000, 'z');
  write(client, much);
  std::size_t got = 0;
  for (int i = 0; i < 8; ++i) got += take().payload.size();
  EXPECT_EQ(got, 8u * (4096 - 44));
  EXPECT_FALSE(has_packet());
  while (got < much.size() && !HasFailure()) {
    {
      const std::lock_guard held(lock_);
      offer_buffer(65536 + 44);
    }
    got += take().payload.size();
  }
  EXPECT_EQ(got, much.size());
}

TEST_P(VirtioVsockTest, ClientsThatSpeakOtherwiseAreCutOff) {
  const UniqueFd wrong = connect_unix(path_);
  write(wrong, "GET / HTTP/1.1\n");
  EXPECT_EQ(read(wrong, 1), "");
  const UniqueFd endless = connect_unix(path_);
  write(endless, std::string(100, 'C'));
  EXPECT_EQ(read(endless, 1), "");
  const UniqueFd number = connect_unix(path_);
  write(number, "CONNECT 99999999999\n");
  EXPECT_EQ(read(number, 1), "");
}

TEST_P(VirtioVsockTest, HostilePacketsDoNoHarm) {
  send_raw({.source_cid = kCid, .destination_cid = kVsockHostCid, .length = 0xffffffff});
  send_raw({.source_cid = kCid, .destination_cid = 99, .operation = VsockOperation::kRequest});
  send_raw({.source_cid = 99, .destination_cid = kVsockHostCid, .operation = VsockOperation::kRequest});
  {
    const std::lock_guard held(lock_);
    driver_->send(1, {driver_->readable("short")});
    driver_->send(1, {driver_->writable(100)});
  }
  send(VsockOperation::kData, 80, "to nobody");
  EXPECT_EQ(take().header.operation, VsockOperation::kReset);
  send(VsockOperation::kReset, 80);
  const UniqueFd server = connect_from_guest();
  send(static_cast<VsockOperation>(77), 80);
  EXPECT_EQ(take().header.operation, VsockOperation::kReset);
  EXPECT_EQ(core_->broken_queues(), 0u);
}

TEST_P(VirtioVsockTest, AFloodOfStrayPacketsIsAnsweredAsBuffersAllow) {
  for (int i = 0; i < 150; ++i) send(VsockOperation::kData, 80, "x");
  for (int i = 0; i < 64; ++i) EXPECT_EQ(take().header.operation, VsockOperation::kReset);
  const std::lock_guard held(lock_);
  for (int i = 0; i < 86; ++i) offer_buffer(100);
  unsigned answers = 0;
  while (driver_->take(0)) ++answers;
  EXPECT_EQ(answers, 86u);
}

TEST_P(VirtioVsockTest, AfterARestoreTheGuestIsToldThatConnectionsAreLost) {
  const UniqueFd server = connect_from_guest();
  const std::lock_guard held(lock_);
  StateSaver saver;
  core_->visit_state(saver);
  const std::vector<u8> saved = saver.take();
  StateLoader loader(saved);
  core_->visit_state(loader);
  ASSERT_TRUE(loader.finish());
  EXPECT_EQ(device_->connections(), 0u);
  device_->resume();
  const TestPiece event = driver_->writable(4);
  driver_->send(2, {event});
  ASSERT_TRUE(driver_->take(2));
  EXPECT_EQ(memory_->read_value<u32>(event.address), kVsockEventTransportReset);
  EXPECT_EQ(read(server, 1), "");
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtioVsockTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

}  // namespace
}  // namespace doppel
