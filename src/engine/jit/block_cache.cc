// Lookup and insertion of blocks.
#include "engine/jit/block_cache.h"

#include <algorithm>

#include "base/verify.h"

namespace doppel::jit {

Block* BlockCache::find(const BlockKey& key) const {
  for (Block* block = buckets_[bucket_of(key)]; block != nullptr; block = block->next_in_bucket) {
    if (block->key == key) return block;
  }
  return nullptr;
}

void BlockCache::remove(Block& block) {
  Block** link = &buckets_[bucket_of(block.key)];
  while (*link != &block) link = &(*link)->next_in_bucket;
  *link = block.next_in_bucket;
}

const Block& BlockCache::at(u32 position) const {
  const auto found = std::ranges::upper_bound(blocks_, position, {}, &Block::end);
  VERIFY(found != blocks_.end());
  return *found;
}

Block& BlockCache::insert(const Block& block) {
  Block& kept = blocks_.emplace_back(block);
  Block*& bucket = buckets_[bucket_of(kept.key)];
  kept.next_in_bucket = bucket;
  bucket = &kept;
  FrameBlocks& frame = frames_[kept.key.physical >> kPageShift];
  // At least one byte: also what could not be translated depends on what is there.
  frame.chunks |= chunk_mask(kept.key.physical & kPageOffsetMask, kept.bytes == 0 ? 1 : kept.bytes);
  kept.next_in_frame = frame.first;
  frame.first = &kept;
  return kept;
}

void BlockCache::clear() {
  std::ranges::fill(buckets_, nullptr);
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
