// Copying blocks to where they, or their guest code, lie elsewhere.
#pragma once

#include <optional>
#include <span>

#include "engine/jit/assembler.h"
#include "engine/jit/block_cache.h"

namespace doppel::jit {

// How Assembler::set() encodes a guest address.
Relocation::Kind address_kind(u64 address);

// The code of `block` for the same guest code at `rip`, to run at `position` of the code memory: copied from
// `from`, the block's code, whose branches may have been linked, to `to`. nullopt when the code would have
// another form, and then `to` is of no use.
std::optional<Block> copy_block(const Block& block, std::span<const Relocation> relocations, const u8* from,
                                u8* to, u64 rip, u32 position);

}  // namespace doppel::jit
