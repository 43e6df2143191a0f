// Opening a disk's back end and putting the device before it.
#include "devices/virtio_block_option.h"

#include <algorithm>
#include <array>
#include <utility>

#include "block/open_disk.h"
#include "devices/virtio_block.h"

namespace doppel {
namespace {

// A disk's own keys and those of every virtio device.
constexpr auto kKeys = [] {
  std::array<OptionKey, kDiskKeys.size() + 2> keys;
  std::ranges::copy(kDiskKeys, keys.begin());
  keys[kDiskKeys.size()] = kTransportKey;
  keys[kDiskKeys.size() + 1] = kRingKey;
  return keys;
}();

}  // namespace

Result<MadeVirtioDevice> make_virtio_block(std::string_view value, const VirtioEnvironment& environment) {
  const OptionList options = TRY(OptionList::parse("--disk", "a file or nbd URI", value, kKeys));
  const DiskConfig config = TRY(read_disk_options(options));
  MadeVirtioDevice made;
  made.placement = TRY(parse_placement(options));
  made.id = config.id;
  auto backend = TRY(open_disk(config, environment.loop));
  made.device = std::make_unique<VirtioBlock>(std::move(backend),
                                              VirtioBlockConfig{.serial = config.serial,
                                                                .queues = config.queues,
                                                                .bandwidth = config.bandwidth,
                                                                .operations = config.operations},
                                              environment.timers);
  return made;
}

}  // namespace doppel
