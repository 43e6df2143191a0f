// Runs one hostile boot file through the production loaders.
#pragma once

#include <cstdlib>
#include <memory>
#include <span>

#include "boot/load_guest.h"

namespace doppel::fuzz {

// Small enough that clearing claimed memory costs little, large enough for the seeds.
inline constexpr u64 kGuestSize = 8 * kMiB;

// Loads `kernel` by `protocol`, with an initrd and a module where the format takes them. RAM is reused
// between calls: no loader may depend on what it holds.
inline void load_image(std::span<const u8> kernel, BootProtocol protocol, bool has_module) {
  static const std::unique_ptr<GuestMemory> memory = std::move(*GuestMemory::create(kGuestSize));
  static const BootTables tables = {GuestPhys(0xe0000), build_e820(*memory)};
  static constexpr u8 kExtra[5000] = {1, 2, 3};
  BootRequest request = {
      ImageView("kernel", kernel), ImageView("initrd", kExtra), {}, "console=ttyS0", protocol, tables};
  if (has_module) request.modules.push_back({ImageView("module", kExtra), "module argument"});
  const auto state = load_guest_images(*memory, request);
  // The entry of a guest that would run must be in its RAM.
  if (state && !memory->is_ram(GuestPhys(state->rip), 1)) std::abort();
  if (!state && state.error().message.empty()) std::abort();
}

}  // namespace doppel::fuzz
