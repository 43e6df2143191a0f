// bzImage: the setup header of the Linux boot protocol, the compressed kernel in it, and which way to enter.
#pragma once

#include <vector>

#include "boot/boot_request.h"
#include "boot/elf.h"
#include "cpu/cpu_state.h"

namespace doppel {

// The setup header after validation. Offsets and lengths lie inside the file. Linux
// Documentation/arch/x86/boot.rst.
struct BzImageHeader {
  u16 version = 0;
  u64 setup_size = 0;    // bytes of the file before the protected-mode kernel
  u64 kernel_size = 0;   // bytes of the protected-mode kernel
  u64 header_end = 0;    // file offset behind the setup header
  u32 code32_start = 0;  // load address of a kernel that is not relocatable
  u64 initrd_limit = 0;  // first address the initrd may not reach
  u64 alignment = 1;     // of the load address, when relocatable; a power of two
  bool is_relocatable = false;
  bool has_64bit_entry = false;
  u32 max_command_line = 0;  // without the terminating zero
  u64 payload_offset = 0;    // in the file; 0 length: none known
  u64 payload_length = 0;
  u64 preferred_address = 0;
  u64 init_size = 0;  // bytes from the load address that the kernel needs before it knows the memory map
};

// True when the file has the setup header's magic number.
bool is_bzimage(const ImageView& image);

// Fails for protocol versions before 2.06 and damaged or truncated files.
Result<BzImageHeader> parse_bzimage(const ImageView& image);

// Loads and enters by PVH when the payload can be unpacked and has that entry, else by the 64-bit or 32-bit
// entry; or by the protocol that the request names.
Result<CpuState> load_bzimage(BootMemory& memory, const BootRequest& request);

}  // namespace doppel
