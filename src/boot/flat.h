// Flat binaries and boot sectors, entered in real mode as a BIOS would.
#pragma once

#include "boot/boot_memory.h"
#include "boot/boot_request.h"
#include "cpu/cpu_state.h"

namespace doppel {

// True when the bytes at offset 510 mark a boot sector.
bool is_boot_sector(const ImageView& image);

// Loads the file at 0x7c00 and starts it there with DL = 0x80 (first disk). At most 512 KiB.
Result<CpuState> load_flat(BootMemory& memory, const BootRequest& request);

}  // namespace doppel
