// Tests of reading --net.
#include "net/net_config.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

Result<NetConfig> parse(std::string_view text) {
  const OptionList options = TRY(NetConfig::split(text, {}));
  return NetConfig::parse(options);
}

std::string error_of(std::string_view text) {
  const auto config = parse(text);
  return config ? "no error" : config.error().message;
}

TEST(NetConfig, ReadsAUserNetwork) {
  const auto config = parse(
      "user,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp::5353-10.0.9.7:53,net=10.0.9.1/"
      "24,host=10.0.9.1,restrict=on,"
      "mac=52:54:00:ab:cd:ef,queues=2,bandwidth=10M");
  ASSERT_TRUE(config) << config.error().message;
  const auto& user = std::get<UserNetworkConfig>(config->backend);
  ASSERT_EQ(user.forwards.size(), 2u);
  EXPECT_EQ(user.forwards[0].host_address, 0x7f000001u);
  EXPECT_EQ(user.forwards[0].host_port, 2222);
  EXPECT_EQ(user.forwards[0].guest_port, 22);
  EXPECT_TRUE(user.forwards[1].is_udp);
  EXPECT_EQ(user.forwards[1].guest_address, 0x0a000907u);
  EXPECT_EQ(user.network, 0x0a000900u);
  EXPECT_EQ(user.host, 0x0a000901u);
  EXPECT_TRUE(user.is_restricted);
  EXPECT_EQ(config->mac, (MacAddress{0x52, 0x54, 0, 0xab, 0xcd, 0xef}));
  EXPECT_EQ(config->queue_pairs, 2u);
  EXPECT_EQ(config->bandwidth.per_second, 10u * 1024 * 1024);
}

TEST(NetConfig, ReadsTapAndSocket) {
  EXPECT_EQ(std::get<TapConfig>(parse("tap,ifname=tap0")->backend).interface, "tap0");
  EXPECT_TRUE(std::get<SocketLinkConfig>(parse("socket,listen=/run/x")->backend).is_listening);
  EXPECT_EQ(std::get<SocketLinkConfig>(parse("socket,connect=/run/y")->backend).path, "/run/y");
}

TEST(NetConfig, EachMistakeIsOneClearLine) {
  EXPECT_EQ(error_of("bridge"), "--net bridge: give user, tap, socket or replay");
  EXPECT_EQ(error_of("tap"), "--net tap: give ifname=NAME");
  EXPECT_EQ(error_of("socket"), "--net socket: give either listen=PATH or connect=PATH");
  EXPECT_EQ(error_of("socket,listen=a,connect=b"), "--net socket: give either listen=PATH or connect=PATH");
  EXPECT_EQ(error_of("user,hostfwd=tcp:22"),
            "--net: hostfwd=tcp:22: give tcp:[ADDRESS]:PORT-[ADDRESS]:PORT, or udp");
  EXPECT_EQ(error_of("user,hostfwd=tcp::0-:22"),
            "--net: hostfwd=tcp::0-:22: give tcp:[ADDRESS]:PORT-[ADDRESS]:PORT, or udp");
  EXPECT_EQ(error_of("user,net=10.0.0.0"), "--net: net=10.0.0.0: give ADDRESS/BITS, with 8 to 27 bits");
  EXPECT_EQ(error_of("user,dns=10.0.3.3"), "--net: dns=10.0.3.3: give an address inside the network");
  EXPECT_EQ(error_of("user,mac=01:00:00:00:00:00"),
            "--net: mac=01:00:00:00:00:00: give an address such as 52:54:00:12:34:56");
  EXPECT_EQ(error_of("user,queues=17"), "--net: queues=17: give a number from 1 to 16");
  EXPECT_EQ(error_of("user,ifname=x").substr(0, 26), "--net: no key 'ifname'; it");
}

TEST(MacAddress, RefusesWhatIsNone) {
  EXPECT_FALSE(parse_mac("52:54:00:12:34"));
  EXPECT_FALSE(parse_mac("52-54-00-12-34-56"));
  EXPECT_FALSE(parse_mac("52:54:00:12:34:5g"));
  EXPECT_FALSE(parse_mac("00:00:00:00:00:00"));
  EXPECT_TRUE(parse_mac("52:54:00:12:34:56"));
}

}  // namespace
}  // namespace doppel
