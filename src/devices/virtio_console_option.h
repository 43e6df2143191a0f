// Command-line option of the virtio console: --console.
#pragma once

#include "devices/virtio_registry.h"

namespace doppel {

// terminal | none | socket=PATH,name=NAME
Result<MadeVirtioDevice> make_virtio_console(std::string_view value, const VirtioEnvironment& environment);
// One device with a port for each value.
Result<MadeVirtioDevice> make_virtio_console_of_all(std::span<const std::string> values,
                                                    const VirtioEnvironment& environment);

}  // namespace doppel
