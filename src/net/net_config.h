// NetConfig: what a value of --net says about a network card's other end.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "base/option_list.h"
#include "base/token_bucket.h"
#include "net/mac_address.h"
#include "net/socket_link.h"
#include "net/tap.h"
#include "net/user_network.h"

namespace doppel {

struct TapConfig {
  std::string interface;
};

struct NetConfig {
  std::variant<UserNetworkConfig, TapConfig, SocketLinkConfig> backend;
  std::optional<MacAddress> mac;
  unsigned queue_pairs = 1;
  RateLimit bandwidth;  // of each direction, in bytes

  // `user[,hostfwd=tcp:[ADDRESS]:PORT-[ADDRESS]:PORT]...[,restrict=on][,net=ADDRESS/BITS][,host=ADDRESS]
  // [,dhcpstart=ADDRESS][,dns=ADDRESS][,mtu=N]`, `tap,ifname=NAME` or
  // `socket,listen=PATH|connect=PATH[,mtu=N]`; each with `[,mac=MAC][,queues=N][,bandwidth=SIZE]` and `more`
  // keys, which belong to the caller.
  static Result<NetConfig> parse(const OptionList& options);
  static Result<OptionList> split(std::string_view text, std::span<const OptionKey> more);
};

// Opens what the configuration names. `loop` and `inputs` outlive it.
Result<std::unique_ptr<NetBackend>> make_net_backend(const NetConfig& config, EventLoop& loop,
                                                     Inputs& inputs);

}  // namespace doppel
