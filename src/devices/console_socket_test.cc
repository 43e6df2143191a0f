// A console port on a Unix socket: clients come, go, send too much and read too little.
#include "devices/console_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "devices/virtio_console.h"
#include "devices/virtio_device_fixture.h"
#include "net/unix_socket.h"

namespace doppel {
namespace {

using namespace virtio_console;
using namespace std::chrono_literals;

// The device has the socket as port 1; the loop runs, with the lock that everything here takes, too.
class ConsoleSocketTest : public VirtioDeviceFixture {
 protected:
  void SetUp() override {
    auto socket = ConsoleSocket::create(path_, *loop_);
    ASSERT_TRUE(socket);
    (*socket)->connect_port(*device_, 1);
    device_->attach(1, std::move(*socket));
    plug(*device_);
    ASSERT_TRUE(driver_->start(kAllSplitFeatures));
    for (TestPiece& buffer : control_) {
      buffer = driver_->writable(64);
      driver_->send(kControlReceive, {buffer});
    }
    say(1, Event::kPortReady, 1);
    say(1, Event::kPortOpen, 1);
    EXPECT_EQ(heard().event, Event::kPortName);
    loop_->start();
  }
  void TearDown() override {
    loop_->stop();
    core_.reset();
    device_.reset();
  }
  void say(u32 port, Event event, u16 value) {
    driver_->send(kControlTransmit, {driver_->readable_value(Control{port, event, value})});
  }
  // The next control message; one of port ~0 when none comes.
  Control heard() {
    for (int i = 0; i < 500; ++i) {
      {
        const std::lock_guard lock(lock_);
        if (driver_->take(kControlReceive)) {
          return *memory_->read_value<Control>(control_[next_control_++].address);
        }
      }
      std::this_thread::sleep_for(2ms);
    }
    return {~0U, Event::kDeviceReady, 0};
  }
  UniqueFd connect() { return connect_unix(path_); }
  UniqueFd connect_open() {
    UniqueFd client = connect();
    EXPECT_TRUE(client.is_valid());
    const Control message = heard();
    EXPECT_EQ(message.event, Event::kPortOpen);
    EXPECT_EQ(message.value, 1);
    return client;
  }
  void expect_close() {
    const Control message = heard();
    EXPECT_EQ(message.event, Event::kPortOpen);
    EXPECT_EQ(message.value, 0);
  }
  void write(const std::string& text) {
    const std::lock_guard lock(lock_);
    driver_->send(transmit_queue(1), {driver_->readable(text)});
  }
  bool is_written() {
    const std::lock_guard lock(lock_);
    return driver_->take(transmit_queue(1)).has_value();
  }
  static std::string read(const UniqueFd& client, std::size_t size) {
    std::string text;
    for (int i = 0; i < 1000 && text.size() < size; ++i) {
      char bytes[4096];
      const ssize_t got = ::recv(client.get(), bytes, std::min(sizeof(bytes), size - text.size()), 0);
      if (got > 0) text.append(bytes, static_cast<std::size_t>(got));
      if (got < 0) std::this_thread::sleep_for(1ms);
    }
    return text;
  }
  // What the guest reads into a buffer of this size, soon.
  std::string guest_reads(unsigned size) {
    TestPiece buffer;
    {
      const std::lock_guard lock(lock_);
      buffer = driver_->writable(size);
      driver_->send(receive_queue(1), {buffer});
    }
    for (int i = 0; i < 500; ++i) {
      {
        const std::lock_guard lock(lock_);
        if (const auto used = driver_->take(receive_queue(1)))
          return driver_->text(buffer.address, used->written);
      }
      std::this_thread::sleep_for(2ms);
    }
    return "nothing";
  }

  std::string path_ = "/tmp/doppel-console-" + std::to_string(::getpid());
  std::mutex lock_;
  std::unique_ptr<EventLoop> loop_ = std::move(*EventLoop::create(lock_));
  std::unique_ptr<VirtioConsole> device_ = std::make_unique<VirtioConsole>(
      std::vector<ConsolePortConfig>{{.name = "main", .is_console = true}, {.name = "agent"}}, timers_);
  std::array<TestPiece, 16> control_;
  std::size_t next_control_ = 0;
};

TEST_F(ConsoleSocketTest, GuestHearsOfComingAndGoing) {
  UniqueFd client = connect_open();
  client.reset();
  expect_close();
  connect_open();
}

TEST_F(ConsoleSocketTest, BytesGoBothWays) {
  const UniqueFd client = connect_open();
  ASSERT_EQ(::send(client.get(), "question", 8, 0), 8);
  EXPECT_EQ(guest_reads(64), "question");
  write("answer");
  EXPECT_EQ(read(client, 6), "answer");
}

TEST_F(ConsoleSocketTest, OutputWithoutClientIsDropped) {
  write("lost");
  EXPECT_TRUE(is_written());
  const UniqueFd client = connect_open();
  write("kept");
  EXPECT_EQ(read(client, 4), "kept");
}

TEST_F(ConsoleSocketTest, InputWaitsForTheGuestsBuffersAlsoWhenTheClientIsGone) {
  UniqueFd client = connect_open();
  ASSERT_EQ(::send(client.get(), "abcdef", 6, 0), 6);
  client.reset();
  EXPECT_EQ(guest_reads(4), "abcd");
  EXPECT_EQ(guest_reads(4), "ef");
  expect_close();
}

TEST_F(ConsoleSocketTest, ClientThatDoesNotReadHoldsTheGuestBackAndLosesNothing) {
  const UniqueFd client = connect_open();
  const std::string block(4000, 'x');
  unsigned sent = 0;
  do {
    write(block);
    ++sent;
  } while (is_written() && sent < 1000);
  ASSERT_LT(sent, 1000u);
  EXPECT_EQ(read(client, sent * block.size()).size(), sent * block.size());
  EXPECT_TRUE(is_written());
}

TEST_F(ConsoleSocketTest, ClientThatLeavesFreesTheGuest) {
  UniqueFd client = connect_open();
  const std::string block(4000, 'x');
  unsigned sent = 0;
  do {
    write(block);
    ++sent;
  } while (is_written() && sent < 1000);
  client.reset();
  expect_close();
  EXPECT_TRUE(is_written());
}

TEST_F(ConsoleSocketTest, SecondClientWaitsForItsTurn) {
  UniqueFd first = connect_open();
  const UniqueFd second = connect();
  ASSERT_EQ(::send(second.get(), "second", 6, 0), 6);
  ASSERT_EQ(::send(first.get(), "first", 5, 0), 5);
  EXPECT_EQ(guest_reads(64), "first");
  first.reset();
  expect_close();
  EXPECT_EQ(heard().value, 1);
  EXPECT_EQ(guest_reads(64), "second");
}

TEST_F(ConsoleSocketTest, GuestThatHearsNothingGetsNoSecondClient) {
  {
    const std::lock_guard lock(lock_);
    core_->reset();
    ASSERT_TRUE(driver_->start(kAllSplitFeatures));
    say(1, Event::kPortReady, 1);
  }
  UniqueFd first = connect();
  std::this_thread::sleep_for(20ms);
  first.reset();
  std::this_thread::sleep_for(20ms);
  const std::lock_guard lock(lock_);
  EXPECT_FALSE(device_->is_guest_informed(1));
}

TEST_F(ConsoleSocketTest, SecondListenerAtThePathIsRefused) {
  const auto other = ConsoleSocket::create(path_, *loop_);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find(path_), std::string::npos);
}

}  // namespace
}  // namespace doppel
