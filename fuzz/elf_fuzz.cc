// Fuzzes recognition, the ELF loader and the PVH entry.
#include "boot_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  doppel::fuzz::load_image({data, size}, doppel::BootProtocol::kAuto, true);
  return 0;
}
