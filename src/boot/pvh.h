// PVH: enters an ELF kernel directly in 32-bit protected mode with a start info structure.
#pragma once

#include "boot/boot_request.h"
#include "boot/elf.h"
#include "cpu/cpu_state.h"

namespace doppel {

// Loads `elf`, which has a PVH entry, and its initrd and modules. `initrd_limit` is the first address the
// initrd may not reach. Fails with one line for the user.
Result<CpuState> load_pvh(BootMemory& memory, const BootRequest& request, const ElfImage& elf,
                          u64 initrd_limit);

}  // namespace doppel
