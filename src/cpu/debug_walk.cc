// The walk without side effects. SDM 3A chapter 4.
#include "cpu/debug_walk.h"

#include "x86/registers.h"

namespace doppel {
namespace {

constexpr u64 kPresent = 1u << 0;
constexpr u64 kWritable = 1u << 1;
constexpr u64 kUserPage = 1u << 2;
constexpr u64 kAccessed = 1u << 5;
constexpr u64 kDirty = 1u << 6;
constexpr u64 kLarge = 1u << 7;
constexpr u64 kGlobal = 1u << 8;
constexpr u64 kNoExecute = u64{1} << 63;
constexpr u64 kAddressMask = 0x000ffffffffff000;

// The walk in progress: rights gathered so far, and the entry last read.
struct DebugWalk {
  const CpuState& state;
  const GuestMemory& memory;
  u64 va;
  DebugTranslation result = {};
  u64 entry = 0;

  template <class Entry>
  bool read_entry(u64 address) {
    const std::optional<Entry> value = memory.read_value<Entry>(GuestPhys(address));
    if (!value || (*value & kPresent) == 0) return false;
    entry = *value;
    const bool is_first = result.levels++ == 0;
    result.is_writable = (is_first || result.is_writable) && (entry & kWritable) != 0;
    result.is_user = (is_first || result.is_user) && (entry & kUserPage) != 0;
    const bool has_nx = sizeof(Entry) == 8 && (state.efer & x86::kEferNxe) != 0;
    if (has_nx && (entry & kNoExecute) != 0) result.is_executable = false;
    return true;
  }

  DebugTranslation finish(u64 base, u64 page_size) {
    result.physical = GuestPhys(base + (va & (page_size - 1)));
    result.page_size = page_size;
    result.is_accessed = (entry & kAccessed) != 0;
    result.is_dirty = (entry & kDirty) != 0;
    result.is_global = (entry & kGlobal) != 0 && (state.cr4 & x86::kCr4Pge) != 0;
    return result;
  }
};

// 32-bit paging. SDM 3A 4.3.
std::optional<DebugTranslation> walk_legacy(DebugWalk& walk) {
  const u64 va = walk.va;
  if (!walk.read_entry<u32>((walk.state.cr3 & 0xfffff000) + bits(va, 22, 10) * 4)) return std::nullopt;
  if ((walk.entry & kLarge) != 0 && (walk.state.cr4 & x86::kCr4Pse) != 0)
    return walk.finish((walk.entry & 0xffc00000) | bits(walk.entry, 13, 8) << 32, 4 * kMiB);
  if (!walk.read_entry<u32>((walk.entry & 0xfffff000) + bits(va, 12, 10) * 4)) return std::nullopt;
  return walk.finish(walk.entry & 0xfffff000, kPageSize);
}

// PAE, 4-level and 5-level paging. SDM 3A 4.4, 4.5.
std::optional<DebugTranslation> walk_wide(DebugWalk& walk) {
  const CpuState& state = walk.state;
  unsigned level = 2;
  u64 table = 0;
  if ((state.efer & x86::kEferLma) != 0) {
    level = (state.cr4 & x86::kCr4La57) != 0 ? 5 : 4;
    const unsigned unused_bits = level == 5 ? 7 : 16;
    if (static_cast<u64>(static_cast<i64>(walk.va << unused_bits) >> unused_bits) != walk.va)
      return std::nullopt;
    table = state.cr3 & kAddressMask;
  } else {
    const u64 pointer = state.pdpte[bits(walk.va, 30, 2)];
    if ((pointer & kPresent) == 0) return std::nullopt;
    table = pointer & kAddressMask;
  }
  for (;; --level) {
    const unsigned shift = 12 + 9 * (level - 1);
    if (!walk.read_entry<u64>(table + bits(walk.va, shift, 9) * 8)) return std::nullopt;
    const bool is_large = (walk.entry & kLarge) != 0 && (level == 2 || level == 3);
    const u64 page_size = u64{1} << shift;
    if (is_large || level == 1) return walk.finish(walk.entry & kAddressMask & ~(page_size - 1), page_size);
    table = walk.entry & kAddressMask;
  }
}

}  // namespace

std::optional<DebugTranslation> debug_walk(const CpuState& state, const GuestMemory& memory,
                                           GuestVirt address) {
  const bool is_long = (state.efer & x86::kEferLma) != 0;
  DebugWalk walk{
      .state = state, .memory = memory, .va = is_long ? address.value() : address.value() & 0xffffffff};
  if ((state.cr0 & x86::kCr0Pg) == 0) {
    walk.result.is_writable = walk.result.is_user = true;
    walk.result.physical = GuestPhys(walk.va);
    return walk.result;
  }
  return (state.cr4 & x86::kCr4Pae) != 0 ? walk_wide(walk) : walk_legacy(walk);
}

}  // namespace doppel
