// --net: a network card and its other end from an option's value.
#pragma once

#include "devices/virtio_registry.h"

namespace doppel {

Result<MadeVirtioDevice> make_virtio_net(std::string_view value, const VirtioEnvironment& environment);

}  // namespace doppel
