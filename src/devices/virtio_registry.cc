// The table of virtio devices. A new device adds its include, its maker and one row.
#include "devices/virtio_registry.h"

#include <array>

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
  static constexpr std::array<VirtioRow, 0> kRows = {};
  return kRows;
}

}  // namespace doppel
