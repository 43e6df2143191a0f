// Relocation: a place in a block's code that depends on where the block, or its guest code, lies.
#pragma once

#include <optional>
#include <span>

#include "engine/jit/assembler.h"
#include "engine/jit/block_cache.h"

namespace doppel::jit {

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
  };
  Kind kind;
  u16 at;  // both from the block's first byte
  u16 target = 0;
};

// How Assembler::set() encodes a guest address.
Relocation::Kind address_kind(u64 address);

// The code of `block` for the same guest code at `rip`, to run at `position` of the code memory: copied from
// `from`, the block's code, whose branches may have been linked, to `to`. nullopt when the code would have
// another form, and then `to` is of no use.
std::optional<Block> copy_block(const Block& block, std::span<const Relocation> relocations, const u8* from,
                                u8* to, u64 rip, u32 position);

}  // namespace doppel::jit
