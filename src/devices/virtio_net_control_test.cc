// Tests of the network card's control queue, filter and queue pairs.
#include "devices/virtio_net_fixture.h"

namespace doppel {
namespace {

using namespace virtio_net;

constexpr MacAddress kOther = {0x52, 0x54, 0, 9, 9, 9};
constexpr MacAddress kGroup = {0x33, 0x33, 0, 0, 0, 1};

class VirtioNetControlTest : public VirtioNetFixture {
 protected:
  void SetUp() override {
    ASSERT_TRUE(start());
    for (int i = 0; i < 20; ++i) offer_buffer(200);
  }
  // Whether a frame to this address reaches the driver.
  bool passes(const MacAddress& to, u16 vlan = 0) {
    std::vector<u8> bytes(60);
    std::ranges::copy(to, bytes.begin());
    if (vlan != 0) {
      bytes[12] = 0x81;
      bytes[14] = static_cast<u8>(vlan >> 8);
      bytes[15] = static_cast<u8>(vlan);
    }
    EXPECT_TRUE(receive(bytes));
    return driver_->take(0).has_value();
  }
  static std::string text(const MacAddress& address) { return {address.begin(), address.end()}; }
  static std::string count(u8 low, u8 third = 0) {
    return {static_cast<char>(low), 0, static_cast<char>(third), 0};
  }
};

TEST_P(VirtioNetControlTest, TakesFramesForItselfAndForAll) {
  EXPECT_TRUE(passes(kMacAddress));
  EXPECT_TRUE(passes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  EXPECT_FALSE(passes(kOther));
  EXPECT_FALSE(passes(kGroup));
}

TEST_P(VirtioNetControlTest, AFilterThatTheDriverCannotSetLetsAllPass) {
  ASSERT_TRUE(start(kEvery & ~kControlReceive));
  offer_buffer(200);
  EXPECT_TRUE(passes(kOther));
}

TEST_P(VirtioNetControlTest, ModesOpenAndCloseTheFilter) {
  EXPECT_EQ(command(kClassReceive, ReceiveFilter::kPromiscuous, "\1"), kAnswerOk);
  EXPECT_TRUE(passes(kOther));
  EXPECT_EQ(command(kClassReceive, ReceiveFilter::kPromiscuous, {"\0", 1}), kAnswerOk);
  EXPECT_EQ(command(kClassReceive, ReceiveFilter::kAllMulticast, "\1"), kAnswerOk);
  EXPECT_FALSE(passes(kOther));
  EXPECT_TRUE(passes(kGroup));
  EXPECT_EQ(command(kClassReceive, ReceiveFilter::kNoBroadcast, "\1"), kAnswerOk);
  EXPECT_FALSE(passes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  EXPECT_EQ(command(kClassReceive, 6, "\1"), kAnswerError);
  EXPECT_EQ(command(kClassReceive, 0, ""), kAnswerError);
}

TEST_P(VirtioNetControlTest, TablesAddAddresses) {
  EXPECT_EQ(command(kClassMac, kMacTableSet, count(1) + text(kOther) + count(1) + text(kGroup)), kAnswerOk);
  EXPECT_TRUE(passes(kOther));
  EXPECT_TRUE(passes(kGroup));
  EXPECT_FALSE(passes({0x33, 0x33, 0, 0, 0, 2}));
}

TEST_P(VirtioNetControlTest, ATableThatIsTooLongLetsItsKindPass) {
  const std::string many(6 * 65, '\2');
  EXPECT_EQ(command(kClassMac, kMacTableSet, count(65) + many + count(0)), kAnswerOk);
  EXPECT_TRUE(passes(kOther));
  EXPECT_FALSE(passes(kGroup));
}

TEST_P(VirtioNetControlTest, TablesThatLieAboutTheirLengthAreRefused) {
  EXPECT_EQ(command(kClassMac, kMacTableSet, count(2) + text(kOther)), kAnswerError);
  EXPECT_EQ(command(kClassMac, kMacTableSet, count(0xff, 0xff) + count(0)), kAnswerError);
  EXPECT_EQ(command(kClassMac, kMacTableSet, count(0)), kAnswerError);
  EXPECT_EQ(command(kClassMac, kMacTableSet, std::string(4, '\xff')), kAnswerError);
}

TEST_P(VirtioNetControlTest, TheDriverMayChangeTheAddress) {
  EXPECT_EQ(command(kClassMac, kMacAddressSet, text(kOther)), kAnswerOk);
  EXPECT_EQ(config<MacAddress>(0), kOther);
  EXPECT_TRUE(passes(kOther));
  EXPECT_EQ(command(kClassMac, kMacAddressSet, "short"), kAnswerError);
}

TEST_P(VirtioNetControlTest, OnlyChosenVlansPass) {
  EXPECT_FALSE(passes(kMacAddress, 5));
  EXPECT_EQ(command(kClassVlan, kVlanAdd, {"\5\0", 2}), kAnswerOk);
  EXPECT_TRUE(passes(kMacAddress, 5));
  EXPECT_EQ(command(kClassVlan, kVlanRemove, {"\5\0", 2}), kAnswerOk);
  EXPECT_FALSE(passes(kMacAddress, 5));
  EXPECT_EQ(command(kClassVlan, kVlanAdd, {"\0\x10", 2}), kAnswerError);
}

TEST_P(VirtioNetControlTest, TheDriverMayTurnOffloadsOff) {
  const u64 only_checksum = kGuestChecksum;
  const std::string data(reinterpret_cast<const char*>(&only_checksum), sizeof(only_checksum));
  EXPECT_EQ(command(kClassGuestOffloads, 0, data), kAnswerOk);
  EXPECT_EQ(backend_->driver.offloads, NetOffloads{.checksum = true});
  EXPECT_EQ(command(kClassGuestOffloads, 0, std::string(8, '\xff')), kAnswerError);
}

TEST_P(VirtioNetControlTest, RefusesNonsense) {
  EXPECT_EQ(command(200, 0, ""), kAnswerError);
  EXPECT_EQ(command(kClassMultiQueue, 0, {"\1\0", 2}), kAnswerError);
  driver_->send(2, {driver_->readable("x"), driver_->writable(1)});
  driver_->send(2, {driver_->writable(1)});
  driver_->send(2, {driver_->readable("ab")});
  EXPECT_EQ(core_->broken_queues(), 0u);
}

TEST_P(VirtioNetControlTest, SeveralQueuePairsAndAnswersOnTheSendersPair) {
  make({.mac = kMacAddress, .queue_pairs = 3});
  ASSERT_TRUE(start());
  EXPECT_EQ(config<u16>(8), 3);
  EXPECT_EQ(command(kClassMultiQueue, 0, {"\4\0", 2}, 6), kAnswerError);
  EXPECT_EQ(command(kClassMultiQueue, 0, {"\0\0", 2}, 6), kAnswerError);
  EXPECT_EQ(command(kClassMultiQueue, 0, {"\3\0", 2}, 6), kAnswerOk);
  EXPECT_EQ(backend_->driver.queue_pairs, 3u);
  for (unsigned pair = 0; pair < 3; ++pair) offer_buffer(200, pair);
  // An IPv4 packet between ports 7 and 9, and back.
  std::string there(60, '\0');
  there.replace(12, 3, {"\x08\0\x45", 3});
  there.replace(26, 12, {"\1\1\1\1\2\2\2\2\0\7\0\x09", 12});
  send({}, there, 2);
  EXPECT_EQ(backend_->queues.back(), 2u);
  std::vector<u8> back(there.begin(), there.end());
  std::ranges::copy(kMacAddress, back.begin());
  const u8 addresses[] = {2, 2, 2, 2, 1, 1, 1, 1, 0, 9, 0, 7};
  std::ranges::copy(addresses, back.begin() + 26);
  EXPECT_TRUE(receive(back));
  EXPECT_FALSE(driver_->take(0));
  EXPECT_TRUE(driver_->take(4));
}

TEST_P(VirtioNetControlTest, WithoutMultiqueueTheControlQueueIsTheThird) {
  make({.mac = kMacAddress, .queue_pairs = 3});
  ASSERT_TRUE(start(kEvery & ~kMultiQueue));
  EXPECT_EQ(command(kClassReceive, ReceiveFilter::kPromiscuous, "\1", 2), kAnswerOk);
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtioNetControlTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Packed" : "Split"; });

}  // namespace
}  // namespace doppel
