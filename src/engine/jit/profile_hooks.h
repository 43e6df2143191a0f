// Observation: what a translator tells about itself, kept out of its way.
#pragma once

#include <atomic>
#include <vector>

#include "cpu/code_buffer.h"
#include "cpu/guest_place.h"
#include "engine/jit/block_cache.h"
#include "engine/jit/frame.h"
#include "engine/jit/profile_interpreted.h"
#include "engine/jit/profile_observer.h"

namespace doppel::jit {

// Owned by a translator and used on its vCPU's thread; locate() also in signal handlers of that thread.
class Observation {
 public:
  Observation(const CodeBuffer& code, const x86::FeatureSet& features, bool keeps_map,
              std::vector<TranslationObserver*> observers)
      : interpreted(features),
        code_(code),
        observers_(std::move(observers)),
        keeps_map_(keeps_map || !observers_.empty()) {}

  // Where marks go; nullptr when nobody looks.
  CodeMap* map() { return keeps_map_ ? &map_ : nullptr; }

  // Around the translation of a block, and when all code goes.
  void begin_block() {
    if (!keeps_map_) return;
    map_changes_.store(true, std::memory_order_seq_cst);
    first_mark_ = map_.count();
  }
  void end_block(const Block& block, std::span<const u8> guest, u32 base);
  void clear();

  // Around translated code; null behind it.
  void enter(const Frame* frame) { frame_.store(frame, std::memory_order_release); }
  GuestPlace locate(const Core& core, u64 host_pc) const;

  u64 emitted_bytes() const { return emitted_bytes_; }

  InterpretedCounts interpreted;

 private:
  const CodeBuffer& code_;
  std::vector<TranslationObserver*> observers_;
  bool keeps_map_;
  CodeMap map_;
  std::size_t first_mark_ = 0;  // of the block that is being made
  u64 emitted_bytes_ = 0;
  // For signal handlers.
  std::atomic<bool> map_changes_ = false;
  std::atomic<const Frame*> frame_ = nullptr;  // in translated code, or C++ code that it called
};

}  // namespace doppel::jit
