// --vsock: sockets between host and guest from an option's value.
#pragma once

#include "devices/virtio_registry.h"

namespace doppel {

Result<MadeVirtioDevice> make_virtio_vsock(std::string_view value, const VirtioEnvironment& environment);

}  // namespace doppel
