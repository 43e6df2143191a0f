// VirtioBlockRequest: one chain of a virtio disk's queue, understood and checked.
#pragma once

#include "block/block_backend.h"
#include "devices/virtio_block_layout.h"
#include "virtio/descriptor_chain.h"

namespace doppel {

// What a disk takes; fixed for its life.
struct VirtioBlockRules {
  BlockLimits limits;
  std::size_t max_pieces = 0;  // of a chain, header and status included: 2.7.5.3.1
  // Sectors of one discard or write zeroes request: 1 GiB.
  static constexpr u32 kMaxRangeSectors = u32{1} << 21;
};

// What is to be done with a request.
enum class VirtioBlockAction : u8 { kSubmit, kGetId, kAnswer };

// A request from when it leaves the queue until its status byte is written. What the back end sees of it is
// the base. Owned by VirtioBlock; must not move while the back end has it.
struct VirtioBlockRequest final : BlockRequest {
  DescriptorChain chain;
  unsigned queue = 0;
  u64 order = 0;              // of submission
  bool is_in_flight = false;  // with the back end
  bool is_flushing = false;   // a write-through write whose data is written
  IovecList pieces;           // what `memory` shows
  u8 status = 0;              // with kAnswer

  // Reads the header, once, and decides. With kSubmit the base is filled, with kAnswer `status`.
  VirtioBlockAction parse(const VirtioBlockRules& rules);

  bool moves_data() const {
    return operation == BlockOperation::kRead || operation == BlockOperation::kWrite;
  }

 private:
  VirtioBlockAction answer(u8 with);
  VirtioBlockAction parse_transfer(const VirtioBlockRules& rules, BlockOperation which, u64 sector);
  VirtioBlockAction parse_range(const VirtioBlockRules& rules, BlockOperation which);
  bool set_range(const VirtioBlockRules& rules, u64 sector, u64 bytes);
};

}  // namespace doppel
