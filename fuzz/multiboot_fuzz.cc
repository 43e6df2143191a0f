// Fuzzes the Multiboot loader, by header addresses and as ELF.
#include "boot_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  doppel::fuzz::load_image({data, size}, doppel::BootProtocol::kMultiboot, true);
  return 0;
}
