// The --disk option: from its value to a virtio disk.
#pragma once

#include "devices/virtio_registry.h"

namespace doppel {

// FILE_OR_URI[,id=..][,serial=..][,readonly=on|off][,direct=on|off][,queues=N][,bandwidth=SIZE][,iops=N]
// [,transport=pci|mmio][,ring=split|packed]
Result<MadeVirtioDevice> make_virtio_block(std::string_view value, const VirtioEnvironment& environment);

}  // namespace doppel
