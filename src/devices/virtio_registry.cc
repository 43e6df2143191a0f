// The table of virtio devices. A new device adds its include, its maker and one row.
#include "devices/virtio_registry.h"

#include <array>

#include "devices/virtio_block_option.h"
#include "devices/virtio_console_option.h"
#include "devices/virtio_fs.h"
#include "devices/virtio_net_option.h"
#include "devices/virtio_options.h"
#include "devices/virtio_vsock_option.h"

namespace doppel {

Result<VirtioPlacement> parse_placement(const OptionList& options) {
  static constexpr OptionChoice<VirtioTransport> kTransports[] = {{"pci", VirtioTransport::kPci},
                                                                  {"mmio", VirtioTransport::kMmio}};
  static constexpr OptionChoice<bool> kRings[] = {{"split", false}, {"packed", true}};
  VirtioPlacement placement;
  placement.transport = TRY(options.choice(kTransportKey.name, VirtioTransport::kPci, kTransports));
  placement.offers_packed = TRY(options.choice(kRingKey.name, false, kRings));
  return placement;
}

std::span<const VirtioRow> virtio_rows() {
  static constexpr auto kRows = std::to_array<VirtioRow>({
      {"--disk",
       "disk: FILE or nbd URI[,id=..][,serial=..][,readonly=on|off][,direct=on|off][,queues=N]"
       "[,bandwidth=SIZE][,iops=N]",
       make_virtio_block},
      {"--net",
       "network card: user[,hostfwd=tcp:[ADDRESS]:PORT-:PORT]..., tap,ifname=NAME or "
       "socket,listen=PATH|connect=PATH; with --clock instructions these with record=PATH, or "
       "replay,file=PATH",
       make_virtio_net},
      {"--vsock", "sockets between host and guest: PATH,cid=N; connect to PATH, or listen at PATH_PORT",
       make_virtio_vsock},
      {"--share", "directory served by a vhost-user daemon: TAG,socket=PATH", make_virtio_fs},
      {"--rng", "entropy device: on[,rate=BYTES][,burst=BYTES]; rate is per second", make_virtio_rng},
      {"--balloon",
       "memory balloon of SIZE to begin with: SIZE[,statistics=on|off][,oom=on|off][,reporting=on|off]",
       make_virtio_balloon},
      {"--console",
       "port of the virtio console: terminal (which then takes what is typed), none, or "
       "socket=PATH,name=NAME",
       make_virtio_console, make_virtio_console_of_all},
  });
  return kRows;
}

}  // namespace doppel
