// Enters a bzImage through the Linux boot protocol's 32-bit or 64-bit entry, with a zero page.
#pragma once

#include "boot/bzimage.h"

namespace doppel {

// Places the protected-mode kernel, initrd, command line and zero page. `is_64bit` chooses the entry.
Result<CpuState> load_linux(BootMemory& memory, const BootRequest& request, const BzImageHeader& header,
                            bool is_64bit);

}  // namespace doppel
