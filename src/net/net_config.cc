// Reading --net.
#include "net/net_config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "net/recording_network.h"
#include "net/replay_network.h"

namespace doppel {
namespace {

constexpr u64 kMinMtu = 576;
constexpr u64 kMaxMtu = 65535;

std::optional<u32> parse_address(std::string_view text) {
  in_addr address;
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::optional<u32> parse_decimal(std::string_view text, u32 least, u32 most) {
  u32 value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
    return std::nullopt;
  }
  return value;
}

// "[ADDRESS]:PORT"; no address is 0.
bool parse_endpoint(std::string_view text, u32& address, u16& port) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view name = text.substr(0, colon);
  const std::optional<u32> given = name.empty() ? 0 : parse_address(name);
  const std::optional<u32> number = parse_decimal(text.substr(colon + 1), 1, 65535);
  if (!given || !number) return false;
  address = *given;
  port = static_cast<u16>(*number);
  return true;
}

Result<HostForward> parse_forward(std::string_view text) {
  HostForward forward;
  const std::size_t colon = text.find(':');
  const std::size_t dash = text.find('-');
  if (colon != std::string_view::npos && dash != std::string_view::npos && colon < dash) {
    const std::string_view protocol = text.substr(0, colon);
    forward.is_udp = protocol == "udp";
    const bool is_good =
        (protocol == "tcp" || forward.is_udp) &&
        parse_endpoint(text.substr(colon + 1, dash - colon - 1), forward.host_address, forward.host_port) &&
        parse_endpoint(text.substr(dash + 1), forward.guest_address, forward.guest_port);
    if (is_good) return forward;
  }
  return fail_usage("--net: hostfwd={}: give tcp:[ADDRESS]:PORT-[ADDRESS]:PORT, or udp", text);
}

Result<void> parse_network(const OptionList& options, UserNetworkConfig& config) {
  const std::string text = options.text("net", "10.0.2.0/24");
  const std::size_t slash = text.find('/');
  const auto address = parse_address(std::string_view(text).substr(0, slash));
  const auto bits = slash == std::string::npos
                        ? std::nullopt
                        : parse_decimal(std::string_view(text).substr(slash + 1), 8, 27);
  if (!address || !bits) return fail_usage("--net: net={}: give ADDRESS/BITS, with 8 to 27 bits", text);
  config.netmask = ~u32{0} << (32 - *bits);
  config.network = *address & config.netmask;
  return {};
}

Result<u32> address_inside(const OptionList& options, std::string_view key, const UserNetworkConfig& config) {
  if (!options.has(key)) return 0;
  const std::string text = options.text(key);
  const auto address = parse_address(text);
  if (!address || (*address & config.netmask) != config.network) {
    return fail_usage("--net: {}={}: give an address inside the network", key, text);
  }
  return *address;
}

Result<UserNetworkConfig> parse_user(const OptionList& options) {
  UserNetworkConfig config;
  TRY_VOID(parse_network(options, config));
  config.host = TRY(address_inside(options, "host", config));
  config.dhcp_start = TRY(address_inside(options, "dhcpstart", config));
  config.dns = TRY(address_inside(options, "dns", config));
  config.is_restricted = TRY(options.flag("restrict", false));
  config.mtu = static_cast<u16>(TRY(options.number("mtu", config.mtu, kMinMtu, UserNetworkConfig::kMaxMtu)));
  for (const std::string& text : options.all("hostfwd")) config.forwards.push_back(TRY(parse_forward(text)));
  return config;
}

Result<TapConfig> parse_tap(const OptionList& options) {
  if (!options.has("ifname")) return fail_usage("--net tap: give ifname=NAME");
  return TapConfig{options.text("ifname")};
}

Result<SocketLinkConfig> parse_socket(const OptionList& options) {
  const bool is_listening = options.has("listen");
  if (is_listening == options.has("connect")) {
    return fail_usage("--net socket: give either listen=PATH or connect=PATH");
  }
  const u64 mtu = TRY(options.number("mtu", 0, kMinMtu, kMaxMtu));
  return SocketLinkConfig{.path = options.text(is_listening ? "listen" : "connect"),
                          .is_listening = is_listening,
                          .mtu = static_cast<u16>(mtu)};
}

Result<NetReplayConfig> parse_replay(const OptionList& options) {
  if (!options.has("file")) return fail_usage("--net replay: give file=PATH");
  return NetReplayConfig{options.text("file")};
}

}  // namespace

std::optional<MacAddress> parse_mac(std::string_view text) {
  MacAddress address;
  if (text.size() != 3 * address.size() - 1) return std::nullopt;
  for (std::size_t i = 0; i < address.size(); ++i) {
    const char* start = text.data() + 3 * i;
    if (i > 0 && start[-1] != ':') return std::nullopt;
    const auto [end, error] = std::from_chars(start, start + 2, address[i], 16);
    if (error != std::errc{} || end != start + 2) return std::nullopt;
  }
  // A card's own address is no group's, and not zero.
  if ((address[0] & 1) != 0 || address == MacAddress{}) return std::nullopt;
  return address;
}

Result<OptionList> NetConfig::split(std::string_view text, std::span<const OptionKey> more) {
  std::vector<OptionKey> keys = {{"mac"}, {"queues"}, {"bandwidth"}};
  const std::string_view kind = text.substr(0, text.find(','));
  if (kind != "replay") keys.push_back({"record"});
  if (kind == "user") {
    const OptionKey user[] = {{"hostfwd", true}, {"restrict"}, {"net"}, {"host"},
                              {"dhcpstart"},     {"dns"},      {"mtu"}};
    keys.insert(keys.end(), std::begin(user), std::end(user));
  } else if (kind == "tap") {
    keys.push_back({"ifname"});
  } else if (kind == "socket") {
    keys.insert(keys.end(), {{"listen"}, {"connect"}, {"mtu"}});
  } else if (kind == "replay") {
    keys.push_back({"file"});
  } else {
    return fail_usage("--net {}: give user, tap, socket or replay", kind);
  }
  keys.insert(keys.end(), more.begin(), more.end());
  return OptionList::parse("--net", "user, tap, socket or replay", text, keys);
}

Result<NetConfig> NetConfig::parse(const OptionList& options) {
  NetConfig config;
  if (options.subject() == "user") {
    config.backend = TRY(parse_user(options));
  } else if (options.subject() == "tap") {
    config.backend = TRY(parse_tap(options));
  } else if (options.subject() == "replay") {
    config.backend = TRY(parse_replay(options));
  } else {
    config.backend = TRY(parse_socket(options));
  }
  if (options.has("record")) config.record_path = options.text("record");
  if (options.has("mac")) {
    config.mac = parse_mac(options.text("mac"));
    if (!config.mac) {
      return fail_usage("--net: mac={}: give an address such as 52:54:00:12:34:56", options.text("mac"));
    }
  }
  config.queue_pairs = static_cast<unsigned>(TRY(options.number("queues", 1, 1, Tap::kMaxQueuePairs)));
  const u64 bandwidth = TRY(options.size("bandwidth", 0));
  // A tenth of a second at once, and never less than one large frame.
  config.bandwidth = {.per_second = bandwidth, .burst = std::max<u64>(bandwidth / 10, 2 * kMaxFrameSize)};
  return config;
}

Result<std::unique_ptr<NetBackend>> make_net_backend(const NetConfig& config, EventLoop& loop,
                                                     Inputs& inputs) {
  if (!config.record_path.empty() || std::holds_alternative<NetReplayConfig>(config.backend)) {
    return fail_usage("--net: networks are recorded and replayed with --clock instructions");
  }
  if (const auto* user = std::get_if<UserNetworkConfig>(&config.backend)) {
    return TRY(UserNetwork::create(*user, loop, inputs));
  }
  if (const auto* tap = std::get_if<TapConfig>(&config.backend)) {
    return TRY(Tap::create(tap->interface, config.queue_pairs, loop));
  }
  return TRY(SocketLink::create(std::get<SocketLinkConfig>(config.backend), loop, inputs));
}

Result<std::unique_ptr<NetBackend>> make_timed_net_backend(const NetConfig& config, InputPoints& points,
                                                           Inputs& inputs) {
  if (const auto* replay = std::get_if<NetReplayConfig>(&config.backend)) {
    return std::make_unique<ReplayNetwork>(replay->path, TRY(NetRecording::open(replay->path)), points,
                                           inputs);
  }
  if (config.record_path.empty()) {
    return fail_usage(
        "--net: with --clock instructions what the network does must be recorded (record=PATH) or replayed "
        "(replay,file=PATH)");
  }
  NetConfig outside = config;
  outside.record_path.clear();
  outside.queue_pairs = 1;
  EventLoop* loop = TRY(points.host_loop());
  auto backend = TRY(make_net_backend(outside, *loop, points.host_inputs()));
  return TRY(RecordingNetwork::create(config.record_path, std::move(backend), points, inputs));
}

}  // namespace doppel
