// Lookup and insertion of blocks.
#include "engine/jit/block_cache.h"

#include <algorithm>

#include "base/verify.h"

namespace doppel::jit {

Block* BlockCache::find(const BlockKey& key) const {
  for (Block* block = buckets_[bucket_of(key)]; block != nullptr; block = block->next_in_bucket) {
    if (block->key == key && !block->is_dead) return block;
  }
  return nullptr;
}

void BlockCache::keep_relocations(Block& block, std::span<const Relocation> relocations) {
  block.relocations = static_cast<u32>(relocations_.size());
  block.relocation_count = static_cast<u16>(relocations.size());
  relocations_.insert(relocations_.end(), relocations.begin(), relocations.end());
}

const Block* BlockCache::twin_of(const BlockKey& key) const {
  const Block* block = newest_[place_of(key)];
  if (block == nullptr || block->is_dead) return nullptr;
  BlockKey same = key;
  same.rip = block->key.rip;
  return block->key == same ? block : nullptr;
}

const Block& BlockCache::at(u32 position) const {
  const auto found = std::ranges::upper_bound(blocks_, position, {}, &Block::end);
  VERIFY(found != blocks_.end());
  return *found;
}

Block& BlockCache::add(const Block& block) {
  Block& kept = blocks_.emplace_back(block);
  Block*& bucket = buckets_[bucket_of(kept.key)];
  kept.next_in_bucket = bucket;
  bucket = &kept;
  if (kept.is_copyable) newest_[place_of(kept.key)] = &kept;
  const auto number = static_cast<u32>(blocks_.size());
  add_to_frame(kept, number, false);
  if (kept.second_frame != Block::kNoFrame) add_to_frame(kept, number, true);
  return kept;
}

void BlockCache::add_to_frame(Block& block, u32 number, bool is_second) {
  FrameBlocks& frame = frames_[is_second ? block.second_frame : block.key.physical >> kPageShift];
  const u64 start = block.key.physical & kPageOffsetMask;
  // At least one byte: also what could not be translated depends on what is there.
  const u64 bytes = block.bytes == 0 ? 1 : block.bytes;
  if (is_second) {
    frame.chunks |= chunk_mask(0, start + bytes - kPageSize);
    block.next_in_second_frame = frame.first;
  } else {
    frame.chunks |= chunk_mask(start, std::min(bytes, kPageSize - start));
    block.next_in_frame = frame.first;
  }
  frame.first = number;
}

void BlockCache::clear() {
  std::ranges::fill(buckets_, nullptr);
  std::ranges::fill(newest_, nullptr);
  frames_.clear();
  relocations_.clear();
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
