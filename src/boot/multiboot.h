// Multiboot 1: kernels of small and teaching systems, as ELF or with load addresses in their header.
#pragma once

#include <optional>

#include "boot/boot_memory.h"
#include "boot/boot_request.h"
#include "cpu/cpu_state.h"

namespace doppel {

// Where the Multiboot header lies in the file's first 8 KiB; nothing when there is none.
std::optional<u64> find_multiboot_header(const ImageView& image);

// Loads kernel and modules (the initrd is the first) and enters in 32-bit protected mode.
Result<CpuState> load_multiboot(BootMemory& memory, const BootRequest& request);

}  // namespace doppel
