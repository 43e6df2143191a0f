// Making a network card.
#include "devices/virtio_net_option.h"

#include "devices/virtio_net.h"
#include "net/net_config.h"

namespace doppel {
namespace {

// An address of the range that nobody is assigned (IEEE 802-2014 8.4.2): machines that meet on a link must
// not have the same.
MacAddress random_mac(Inputs& inputs) {
  MacAddress mac;
  inputs.entropy(mac);
  mac[0] = static_cast<u8>((mac[0] & ~1u) | 2u);
  return mac;
}

}  // namespace

Result<MadeVirtioDevice> make_virtio_net(std::string_view value, const VirtioEnvironment& environment) {
  const OptionKey keys[] = {{"id"}, kTransportKey, kRingKey};
  const OptionList options = TRY(NetConfig::split(value, keys));
  const NetConfig config = TRY(NetConfig::parse(options));
  const VirtioPlacement placement = TRY(parse_placement(options));
  Inputs& inputs = environment.timers.inputs();
  auto backend = environment.loop != nullptr
                     ? TRY(make_net_backend(config, *environment.loop, inputs))
                     : TRY(make_timed_net_backend(config, *environment.input_points, inputs));
  const VirtioNetSettings settings{.mac = config.mac ? *config.mac : random_mac(inputs),
                                   .queue_pairs = config.queue_pairs,
                                   .send_limit = config.bandwidth,
                                   .receive_limit = config.bandwidth};
  return MadeVirtioDevice{
      .device = std::make_unique<VirtioNet>(settings, std::move(backend), environment.timers),
      .placement = placement,
      .id = options.text("id")};
}

}  // namespace doppel
