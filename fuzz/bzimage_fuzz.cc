// Fuzzes the bzImage loader: setup header, payload decompression, every way in.
#include "boot_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using doppel::BootProtocol;
  doppel::fuzz::load_image({data, size}, BootProtocol::kPvh, false);
  doppel::fuzz::load_image({data, size}, BootProtocol::kLinux64, false);
  doppel::fuzz::load_image({data, size}, BootProtocol::kLinux32, false);
  return 0;
}
