// What all loaders are given: the files as bytes, the command line, and where the firmware tables lie.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "boot/e820.h"
#include "boot/image_view.h"
#include "memory/address.h"

namespace doppel {

// How the kernel is entered. kAuto takes the first that fits: PVH, 64-bit Linux, 32-bit Linux for a bzImage;
// PVH, Multiboot for ELF; Multiboot or a boot sector otherwise.
enum class BootProtocol : u8 { kAuto, kPvh, kLinux64, kLinux32, kMultiboot, kFlat };

// What the machine has put into guest RAM before the loader runs.
struct BootTables {
  GuestPhys rsdp;  // ACPI root pointer; 0 when the machine has no ACPI tables
  std::vector<E820Entry> e820;
};

struct BootModule {
  ImageView image;
  std::string_view command_line;  // as the user wrote it: file name and arguments
};

// Everything is hostile but `tables`. Made by load_guest(); lives until the loader returns.
struct BootRequest {
  ImageView kernel;
  std::optional<ImageView> initrd;
  std::vector<BootModule> modules;
  std::string_view command_line;
  BootProtocol protocol = BootProtocol::kAuto;
  const BootTables& tables;
};

}  // namespace doppel
