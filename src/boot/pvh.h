// PVH: enters an ELF kernel directly in 32-bit protected mode with a start info structure.
#pragma once

#include "boot/boot_request.h"
#include "boot/elf.h"
#include "cpu/cpu_state.h"

namespace doppel {

// Loads `elf` and returns its PVH entry, which it has.
Result<GuestPhys> load_pvh_kernel(BootMemory& memory, const ElfImage& elf);

// Loads the initrd and modules of a kernel that is loaded and goes to `entry`. `initrd_limit` is the first
// address the initrd may not reach. Fails with one line for the user.
Result<CpuState> enter_pvh(BootMemory& memory, const BootRequest& request, GuestPhys entry, u64 initrd_limit);

}  // namespace doppel
