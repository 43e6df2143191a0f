// NetConfig: what a value of --net says about a network card's other end.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "base/input_points.h"
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

// A recording that stands in for a network.
struct NetReplayConfig {
  std::string path;
};

struct NetConfig {
  std::variant<UserNetworkConfig, TapConfig, SocketLinkConfig, NetReplayConfig> backend;
  std::string record_path;  // where to write a recording; empty: nowhere
  std::optional<MacAddress> mac;
  unsigned queue_pairs = 1;
  RateLimit bandwidth;  // of each direction, in bytes

  // `user[,hostfwd=tcp:[ADDRESS]:PORT-[ADDRESS]:PORT]...[,restrict=on][,net=ADDRESS/BITS][,host=ADDRESS]
  // [,dhcpstart=ADDRESS][,dns=ADDRESS][,mtu=N]`, `tap,ifname=NAME` or
  // `socket,listen=PATH|connect=PATH[,mtu=N]`, these with `[,record=PATH]`; or `replay,file=PATH`; each with
  // `[,mac=MAC][,queues=N][,bandwidth=SIZE]` and `more` keys, which belong to the caller.
  static Result<NetConfig> parse(const OptionList& options);
  static Result<OptionList> split(std::string_view text, std::span<const OptionKey> more);
};

// Opens what the configuration names, on the host's clock: nothing that is recorded or replayed. `loop` and
// `inputs` outlive it.
Result<std::unique_ptr<NetBackend>> make_net_backend(const NetConfig& config, EventLoop& loop,
                                                     Inputs& inputs);

// For a machine on the instruction clock: what is recorded or replayed. `points` and `inputs`, the machine's,
// outlive it.
Result<std::unique_ptr<NetBackend>> make_timed_net_backend(const NetConfig& config, InputPoints& points,
                                                           Inputs& inputs);

}  // namespace doppel
