// BlockCache: translated blocks by where their guest code lies, and which frames they came from.
#pragma once

#include <deque>
#include <span>
#include <unordered_map>
#include <vector>

#include "cpu/tlb.h"

namespace doppel::jit {

// A place in a block's code that depends on where the block, or its guest code, lies.
struct Relocation {
  enum class Kind : u8 {
    kAddress,        // 8 bytes, a guest address
    kAddressZero,    // 4 bytes of one, zero-extended
    kAddressSigned,  // 4 bytes of one, sign-extended
    kAddressLow,     // the low 4 bytes of one
    kOutside,        // displacement of a branch out of the block
    kPlace,          // 4 bytes: a position in the code memory
    kBranch,         // displacement of a branch that gets linked; unlinked it leads to `target`
    kEpoch,          // displacement that holds the epoch of a link
    kFault,          // no place: the instruction here goes on at `target` when it faults
  };
  Kind kind;
  u16 at;  // both from the block's first byte
  u16 target = 0;
};

// RIP is part of the key because blocks contain addresses; the physical address, because what RIP means
// changes.
struct BlockKey {
  u64 rip = 0;
  u64 physical : 52 = 0;
  AccessMode mode : 2 = kSupervisor;
  bool is_32bit : 1 = false;  // flat 32-bit code
  bool operator==(const BlockKey&) const = default;
};

// A straight run of guest instructions on one page, with side exits. `entry` looks for attention first,
// `direct` does not. There are as many as a hundred thousand: each is one line of the host's cache.
struct alignas(64) Block {
  static constexpr u32 kNoFrame = ~u32{0};

  BlockKey key;
  Block* next_in_bucket = nullptr;
  u32 start = 0;  // position in the code memory
  // From there: the ways in; where it leaves to look for the block at this RIP again; where the epoch stands
  // for which the second frame is known to be that one.
  u16 size = 0;
  u16 entry = 0;
  u16 direct = 0;
  u16 island = 0;
  u16 guard = 0;
  u16 bytes = 0;  // of guest code
  u8 instructions = 0;
  u8 executed = 0;  // of them, before one that is always the interpreter's
  bool is_dead : 1 = false;
  bool is_copyable : 1 = false;  // its relocations are kept
  u8 : 0;
  u16 relocation_count = 0;
  u32 relocations = 0;          // the first one's index in the cache
  u32 second_frame = kNoFrame;  // that an instruction reaches into
  u32 next_in_frame = 0;        // numbers of blocks, 0: none
  u32 next_in_second_frame = 0;

  u32 end() const { return start + size; }
};
static_assert(sizeof(Block) == 64);

// Of one vCPU. Blocks stay where they are until clear(), dead ones too: their code leads back to the
// dispatcher, or to what took their place.
class BlockCache {
 public:
  Block* find(const BlockKey& key) const;
  // `on_replace` hears of the dead block with the same key, if there is one.
  template <class F>
  Block& insert(const Block& block, F on_replace);
  void clear();
  // Of a copyable block; copies of it have the same.
  void keep_relocations(Block& block, std::span<const Relocation> relocations);
  std::span<const Relocation> relocations_of(const Block& block) const {
    return {relocations_.data() + block.relocations, block.relocation_count};
  }
  // A living block with the same guest code at whatever RIP; nullptr when none is known.
  const Block* twin_of(const BlockKey& key) const;

  // True when blocks of that frame are left.
  template <class F>
  bool drop_written(GuestPhys address, u64 size, F on_drop);
  template <class F>
  void drop_all(F on_drop);
  bool holds(u64 frame) const { return frames_.contains(frame); }
  u64 count() const { return blocks_.size(); }
  // The block with code at that position of the code memory.
  const Block& at(u32 position) const;

 private:
  // Which 64-byte chunks of a frame were translated.
  struct FrameBlocks {
    u64 chunks = 0;
    u32 first = 0;
  };
  static u64 kind_of(const BlockKey& key) { return u64{key.mode} << 61 | u64{key.is_32bit} << 60; }
  static constexpr unsigned kBuckets = 1u << 18;
  static unsigned bucket_of(const BlockKey& key) {
    const u64 mixed = key.rip ^ key.physical << 20 ^ kind_of(key);
    return static_cast<unsigned>(mixed * 0x9e3779b97f4a7c15 >> 46);
  }
  static constexpr unsigned kPlaces = 1u << 16;
  static unsigned place_of(const BlockKey& key) {
    return static_cast<unsigned>((key.physical ^ kind_of(key)) * 0x9e3779b97f4a7c15 >> 48);
  }
  Block& add(const Block& block);
  Block& numbered(u32 number) { return blocks_[number - 1]; }
  static u64 chunk_mask(u64 start, u64 size);
  template <class F>
  void drop_frame(u64 frame_number, const FrameBlocks& frame, F on_drop);
  void add_to_frame(Block& block, u32 number, bool is_second);

  std::deque<Block> blocks_;
  std::vector<Block*> buckets_ = std::vector<Block*>(kBuckets);
  std::vector<Block*> newest_ = std::vector<Block*>(kPlaces);  // copyable ones, by place
  std::unordered_map<u64, FrameBlocks> frames_;
  std::vector<Relocation> relocations_;
};

template <class F>
Block& BlockCache::insert(const Block& block, F on_replace) {
  for (Block** link = &buckets_[bucket_of(block.key)]; *link != nullptr;) {
    Block& old = **link;
    if (old.key == block.key) {
      *link = old.next_in_bucket;
      on_replace(old);
    } else {
      link = &old.next_in_bucket;
    }
  }
  return add(block);
}

template <class F>
void BlockCache::drop_frame(u64 frame_number, const FrameBlocks& frame, F on_drop) {
  for (u32 number = frame.first; number != 0;) {
    Block& block = numbered(number);
    if (!block.is_dead) on_drop(block);
    block.is_dead = true;
    number = block.second_frame == frame_number ? block.next_in_second_frame : block.next_in_frame;
  }
}

template <class F>
bool BlockCache::drop_written(GuestPhys address, u64 size, F on_drop) {
  const auto found = frames_.find(address.page_number());
  if (found == frames_.end()) return false;
  if ((found->second.chunks & chunk_mask(address.page_offset(), size)) == 0) return true;
  // All blocks of the frame go: code that is being written usually changes in more than one place.
  drop_frame(found->first, found->second, on_drop);
  frames_.erase(found);
  return false;
}

template <class F>
void BlockCache::drop_all(F on_drop) {
  for (auto& [number, frame] : frames_) drop_frame(number, frame, on_drop);
  frames_.clear();
}

}  // namespace doppel::jit
