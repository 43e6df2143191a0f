// Command-line options of the virtio devices without a back end: --rng, --balloon.
#pragma once

#include "devices/virtio_registry.h"

namespace doppel {

// on[,rate=BYTES][,burst=BYTES]
Result<MadeVirtioDevice> make_virtio_rng(std::string_view value, const VirtioEnvironment& environment);
// SIZE[,statistics=on|off][,oom=on|off][,reporting=on|off]
Result<MadeVirtioDevice> make_virtio_balloon(std::string_view value, const VirtioEnvironment& environment);

}  // namespace doppel
