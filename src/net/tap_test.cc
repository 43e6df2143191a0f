// Tests of the tap back end in a network namespace of its own; skipped where none can be made.
#include "net/tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>

#include "net/net_fakes.h"

namespace doppel {
namespace {

constexpr u16 kTestType = 0x88b5;

struct TapTest : NetFixture {
  void SetUp() override {
    if (::unshare(CLONE_NEWNET) != 0 || ::access("/dev/net/tun", R_OK | W_OK) != 0) {
      GTEST_SKIP() << "no permission to make a network namespace and tap interfaces";
    }
    NetFixture::SetUp();
    control = UniqueFd(::socket(AF_PACKET, SOCK_RAW, htons(kTestType)));
    ASSERT_TRUE(control.is_valid());
  }
  void TearDown() override {
    if (loop != nullptr) {
      const std::lock_guard held(lock);
      tap.reset();
    }
    if (loop != nullptr) NetFixture::TearDown();
    ASSERT_EQ(::setns(outside.get(), CLONE_NEWNET), 0);
  }

  Result<void> open(unsigned queue_pairs = 1) {
    const std::lock_guard held(lock);
    tap = TRY(Tap::create("dop0", queue_pairs, *loop));
    tap->set_receiver(&receiver);
    return {};
  }
  void set_up(bool is_up) {
    ifreq request{};
    std::strcpy(request.ifr_name, "dop0");
    ASSERT_EQ(::ioctl(control.get(), SIOCGIFFLAGS, &request), 0);
    const int flags = is_up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
    request.ifr_flags = static_cast<short>(flags);
    ASSERT_EQ(::ioctl(control.get(), SIOCSIFFLAGS, &request), 0);
  }
  void bring_up() {
    set_up(true);
    ASSERT_TRUE(wait_until(receiver, [&] { return receiver.link_up; }));
  }
  // Sends a frame out of the host's interface: towards the guest.
  void send_from_host(const std::vector<u8>& frame) {
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_ifindex = static_cast<int>(::if_nametoindex("dop0"));
    address.sll_protocol = htons(kTestType);
    ASSERT_EQ(::sendto(control.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&address),
                       sizeof(address)),
              static_cast<ssize_t>(frame.size()));
  }
  bool wait_test_frames(std::size_t count) {
    return wait_until(receiver, [&] { return test_frames() >= count; });
  }
  // Others are the host's own announcements on a new interface.
  std::size_t test_frames() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        receiver.frames, [](const auto& frame) { return frame[12] == 0x88 && frame[13] == 0xb5; }));
  }

  UniqueFd outside{::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)};  // other tests' namespace
  UniqueFd control;
  std::unique_ptr<Tap> tap;
};

TEST_F(TapTest, CarriesFramesBothWays) {
  ASSERT_TRUE(open());
  bring_up();
  send_from_host(test_frame(60, 1));
  ASSERT_TRUE(wait_test_frames(1));
  send(*tap, test_frame(100, 2));
  u8 got[200];
  ASSERT_EQ(::recv(control.get(), got, sizeof(got), 0), 100);
  EXPECT_EQ(got[99], 2);
}

TEST_F(TapTest, TheLinkFollowsTheInterface) {
  ASSERT_TRUE(open());
  EXPECT_FALSE(tap->is_link_up());
  bring_up();
  EXPECT_TRUE(tap->is_link_up());
  set_up(false);
  ASSERT_TRUE(wait_until(receiver, [&] { return !receiver.link_up; }));
  send(*tap, test_frame(100, 2));
  send(*tap, test_frame(100, 2));
  bring_up();
}

TEST_F(TapTest, KeepsOneFrameWhileTheGuestHasNoRoom) {
  ASSERT_TRUE(open());
  {
    const std::lock_guard held(lock);
    receiver.room = 0;
  }
  bring_up();
  send_from_host(test_frame(60, 1));
  send_from_host(test_frame(61, 2));
  ASSERT_TRUE(wait_until(receiver, [&] { return receiver.refused > 0; }));
  {
    const std::lock_guard held(lock);
    receiver.room = 1000;
    tap->receive_ready(0);
  }
  EXPECT_TRUE(wait_test_frames(2));
}

TEST_F(TapTest, SaysWhoHoldsAnInterface) {
  ASSERT_TRUE(open());
  const std::lock_guard held(lock);
  const auto second = Tap::create("dop0", 1, *loop);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message, "--net tap: interface dop0 is in use by another process");
}

TEST_F(TapTest, RefusesAnInterfaceThatIsNoTap) {
  const auto loopback = Tap::create("lo", 1, *loop);
  ASSERT_FALSE(loopback);
  EXPECT_EQ(loopback.error().message,
            "--net tap: interface lo exists and is no tap interface, or has another number of queues");
}

TEST_F(TapTest, OpensSeveralQueuesAndUsesAsManyAsTheDriver) {
  ASSERT_TRUE(open(4));
  EXPECT_EQ(tap->limits().queue_pairs, 4u);
  bring_up();
  const std::lock_guard held(lock);
  tap->configure({.queue_pairs = 1});
  tap->configure({.queue_pairs = 4});
  const std::vector<u8> frame = test_frame(100, 3);
  const iovec piece{const_cast<u8*>(frame.data()), frame.size()};
  tap->send(3, {}, {&piece, 1});
  u8 got[200];
  EXPECT_EQ(::recv(control.get(), got, sizeof(got), 0), 100);
}

TEST_F(TapTest, AnInterfaceThatGoesPullsTheCable) {
  ASSERT_EQ(::system("ip tuntap add mode tap name dop0 2>/dev/null"), 0);
  ASSERT_TRUE(open());
  bring_up();
  ASSERT_EQ(::system("ip link delete dop0"), 0);
  ASSERT_TRUE(wait_until(receiver, [&] { return !receiver.link_up; }));
  send(*tap, test_frame(100, 2));
  EXPECT_FALSE(tap->is_link_up());
}

TEST_F(TapTest, TakesFramesOfManyPieces) {
  ASSERT_TRUE(open());
  bring_up();
  std::vector<u8> frame = test_frame(500, 9);
  std::vector<iovec> pieces;
  for (u8& byte : frame) pieces.push_back({&byte, 1});
  const std::lock_guard held(lock);
  tap->send(0, {}, pieces);
  std::vector<u8> got(1000);
  ASSERT_EQ(::recv(control.get(), got.data(), got.size(), 0), 500);
  EXPECT_EQ(got[499], 9);
}

}  // namespace
}  // namespace doppel
