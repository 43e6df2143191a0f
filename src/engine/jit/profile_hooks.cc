// Telling observers, and telling the guest's place from the host's.
#include "engine/jit/profile_hooks.h"

#include <cstring>

namespace doppel::jit {
namespace {

// C++ code that translated code called has its return address where the stack pointer was.
u64 return_address(const Frame* frame) {
  u64 address;
  std::memcpy(&address, reinterpret_cast<const u8*>(frame) + kFrameBias - sizeof(address), sizeof(address));
  return address;
}

}  // namespace

void Observation::end_block(const Block& block, std::span<const u8> guest, u32 base) {
  emitted_bytes_ += block.size;
  if (!keeps_map_) return;
  map_changes_.store(false, std::memory_order_seq_cst);
  const TranslatedBlock translated{.rip = block.key.rip,
                                   .mode = block.key.mode,
                                   .is_32bit = block.key.is_32bit,
                                   .guest = guest.first(block.bytes),
                                   .host = {code_.executable(base), block.size},
                                   .host_address = code_.executable(base),
                                   .base = base,
                                   .entry = base + block.entry,
                                   .direct = base + block.direct,
                                   .marks = map_.from(first_mark_)};
  for (TranslationObserver* observer : observers_) observer->translated(translated);
}

void Observation::clear() {
  map_changes_.store(true, std::memory_order_seq_cst);
  map_.clear();
  map_changes_.store(false, std::memory_order_seq_cst);
}

GuestPlace Observation::locate(const Core& core, u64 host_pc) const {
  const Frame* frame = frame_.load(std::memory_order_acquire);
  const u64 start = reinterpret_cast<u64>(code_.executable(0));
  if (frame != nullptr && !map_changes_.load(std::memory_order_acquire)) {
    const bool is_inside = host_pc - start < code_.size();
    const u64 place = (is_inside ? host_pc : return_address(frame) - 1) - start;
    const CodeMark* mark = place < code_.size() ? map_.find(static_cast<u32>(place)) : nullptr;
    if (mark != nullptr) {
      return {mark->rip, mark->mode == kUser,
              is_inside ? GuestPlace::Doing::kTranslated : GuestPlace::Doing::kHelping};
    }
  }
  return {core.state.rip, core.cpl == 3, GuestPlace::Doing::kInterpreting};
}

}  // namespace doppel::jit
