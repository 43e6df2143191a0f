// Lookup and insertion of blocks.
#include "engine/jit/block_cache.h"

namespace doppel::jit {

Block* BlockCache::find(const BlockKey& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second;
}

Block& BlockCache::insert(const Block& block) {
  Block& kept = blocks_.emplace_back(block);
  by_key_[kept.key] = &kept;
  FrameBlocks& frame = frames_[kept.key.physical >> kPageShift];
  // At least one byte: also what could not be translated depends on what is there.
  frame.chunks |= chunk_mask(kept.key.physical & kPageOffsetMask, kept.bytes == 0 ? 1 : kept.bytes);
  kept.next_in_frame = frame.first;
  frame.first = &kept;
  return kept;
}

void BlockCache::clear() {
  by_key_.clear();
  frames_.clear();
  blocks_.clear();
}

// Bits of the 64-byte chunks that [start, start + size) of a frame touches.
u64 BlockCache::chunk_mask(u64 start, u64 size) {
  const u64 first = start >> 6;
  const u64 last = (start + size - 1) >> 6;
  const u64 up_to_last = last >= 63 ? ~u64{0} : (u64{1} << (last + 1)) - 1;
  return up_to_last & ~((u64{1} << first) - 1);
}

}  // namespace doppel::jit
