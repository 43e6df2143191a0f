// The one way from boot files to a guest that is ready to run.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "boot/boot_request.h"
#include "cpu/cpu_state.h"
#include "memory/guest_memory.h"

namespace doppel {

// What the user asked to boot.
struct BootConfig {
  std::string kernel_path = {};
  std::optional<std::string> initrd_path = {};
  std::string command_line = {};
  std::vector<std::string> modules = {};  // each "path" or "path arguments", for Multiboot and PVH kernels
  BootProtocol protocol = BootProtocol::kAuto;
};

// auto, pvh, linux64, linux32, multiboot or flat.
Result<BootProtocol> parse_boot_protocol(std::string_view name);

// Recognises the kernel's format, fills guest RAM and returns the boot processor's first state. Call once, on
// fresh RAM, after the machine has written its firmware tables. Errors are one line for the user.
Result<CpuState> load_guest(GuestMemory& memory, const BootConfig& config, const BootTables& tables);

// The same for files that are already in memory.
Result<CpuState> load_guest_images(GuestMemory& memory, const BootRequest& request);

}  // namespace doppel
