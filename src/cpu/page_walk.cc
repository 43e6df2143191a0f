// The page walk: 2-level, PAE, 4-level and 5-level paging. SDM 3A chapter 4.
#include <cstring>

#include "cpu/mmu.h"

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

}  // namespace

// The walk in progress: the access, the entry last read, and the rights gathered on the way down.
struct Mmu::Walk {
  u64 va;
  Access access;
  AccessMode mode;
  u64 entry_address = 0;
  u64 entry = 0;
  unsigned entry_bytes = 8;
  bool is_writable = true;
  bool is_user = true;
  bool is_executable = true;
  unsigned entries = 0;       // read so far
  bool must_restart = false;  // another CPU changed an entry between reading and updating it
};

u64 TlbStatistics::nested_references(u64 nested_levels) const {
  u64 sum = 0;
  for (u64 levels = 0; levels <= kMaxLevels; ++levels) {
    const u64 tables = levels * nested_levels + levels;
    sum += walks[levels] * (tables + nested_levels) + failed_walks[levels] * tables;
  }
  return sum;
}

u64 Mmu::reserved_mask() const {
  const u64 above = kAddressMask & ~((u64{1} << physical_bits_) - 1);
  return (state_.efer & x86::kEferNxe) != 0 ? above : above | kNoExecute;
}

Translation Mmu::fault(const Walk& walk, u32 bits) {
  Translation result;
  result.error_code = bits;
  if (walk.access == Access::kWrite) result.error_code |= x86::kPfWrite;
  if (walk.mode == kUser) result.error_code |= x86::kPfUser;
  // SDM 3A 4.7: the I/D flag is reported only with NX or SMEP in use.
  const bool has_nx = (state_.cr4 & x86::kCr4Pae) != 0 && (state_.efer & x86::kEferNxe) != 0;
  if (walk.access == Access::kFetch && (has_nx || (state_.cr4 & x86::kCr4Smep) != 0)) {
    result.error_code |= x86::kPfFetch;
  }
  return result;
}

// Reads a paging entry; false when it is not present.
bool Mmu::read_entry(Walk& walk, u64 address, unsigned bytes) {
  ++statistics_.walk_references;
  ++walk.entries;
  walk.entry_address = address;
  walk.entry_bytes = bytes;
  walk.entry = 0;
  read_physical(GuestPhys(address), {reinterpret_cast<u8*>(&walk.entry), bytes});
  return (walk.entry & kPresent) != 0;
}

// Sets accessed/dirty bits with a compare-and-swap; false when another CPU changed the entry meanwhile.
bool Mmu::update_entry(u64 address, u64 old_value, u64 new_bits, unsigned bytes) {
  if ((old_value & new_bits) == new_bits) return true;
  const GuestPhys physical(address);
  u64 value = old_value | new_bits;
  if (!memory_.is_ram(physical, bytes)) {
    platform_.write_mmio(physical, {reinterpret_cast<u8*>(&value), bytes});
    return true;
  }
  if (observer_ != nullptr) observer_->will_update(physical, new_bits);
  u8* host = memory_.host(physical);
  u32 old32 = static_cast<u32>(old_value);
  const bool is_done =
      bytes == 8 ? __atomic_compare_exchange_n(reinterpret_cast<u64*>(host), &old_value, value, false,
                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
                 : __atomic_compare_exchange_n(reinterpret_cast<u32*>(host), &old32, static_cast<u32>(value),
                                               false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  if (observer_ == nullptr && memory_.code_frames().is_watched(physical.page_number(), code_user_))
    memory_.note_write(physical, bytes, code_user_);
  return is_done;
}

// Rights check and final accessed/dirty update for the entry that maps the page. SDM 3A 4.6, 4.8.
Translation Mmu::finish(Walk& walk, u64 physical, u64 page_size) {
  const bool is_write = walk.access == Access::kWrite;
  bool is_allowed = true;
  if (walk.mode == kUser) {
    is_allowed = walk.is_user && (!is_write || walk.is_writable);
  } else {
    if (is_write) is_allowed = walk.is_writable || (state_.cr0 & x86::kCr0Wp) == 0;
    if (walk.is_user && walk.access != Access::kFetch && walk.mode == kSupervisor) {
      is_allowed &= (state_.cr4 & x86::kCr4Smap) == 0;
    }
    if (walk.is_user && walk.access == Access::kFetch) is_allowed = (state_.cr4 & x86::kCr4Smep) == 0;
  }
  if (walk.access == Access::kFetch) {
    is_allowed &= walk.is_executable && (walk.mode != kUser || walk.is_user);
  }
  if (!is_allowed) return fault(walk, x86::kPfPresent);
  const u64 wanted = kAccessed | (is_write ? kDirty : 0);
  if (!update_entry(walk.entry_address, walk.entry, wanted, walk.entry_bytes)) {
    walk.must_restart = true;
    return {};
  }
  Translation result;
  result.is_valid = true;
  result.physical = GuestPhys(physical);
  result.page_size = page_size;
  const bool may_write = walk.is_writable || (walk.mode != kUser && (state_.cr0 & x86::kCr0Wp) == 0);
  result.is_writable = may_write && ((walk.entry | wanted) & kDirty) != 0;
  result.is_global = (walk.entry & kGlobal) != 0 && (state_.cr4 & x86::kCr4Pge) != 0;
  return result;
}

// 32-bit paging. SDM 3A 4.3.
Translation Mmu::walk_legacy(Walk& walk) {
  const u64 directory = (state_.cr3 & 0xfffff000) + ((walk.va >> 22) & 0x3ff) * 4;
  if (!read_entry(walk, directory, 4)) return fault(walk, 0);
  walk.is_executable = true;
  walk.is_writable = (walk.entry & kWritable) != 0;
  walk.is_user = (walk.entry & kUserPage) != 0;
  if ((walk.entry & kLarge) != 0 && (state_.cr4 & x86::kCr4Pse) != 0) {
    // PSE-36: address bits 39:32 in entry bits 20:13, the rest up to bit 21 reserved.
    const unsigned high_bits = physical_bits_ > 40 ? 8 : physical_bits_ - 32;
    if (bits(walk.entry, 13, 9) >> high_bits != 0) return fault(walk, x86::kPfPresent | x86::kPfReserved);
    const u64 base = (walk.entry & 0xffc00000) | bits(walk.entry, 13, 8) << 32;
    return finish(walk, base + (walk.va & 0x3fffff), 4 * kMiB);
  }
  if (!update_entry(walk.entry_address, walk.entry, kAccessed, 4)) {
    walk.must_restart = true;
    return {};
  }
  const u64 table = (walk.entry & 0xfffff000) + ((walk.va >> 12) & 0x3ff) * 4;
  if (!read_entry(walk, table, 4)) return fault(walk, 0);
  walk.is_writable &= (walk.entry & kWritable) != 0;
  walk.is_user &= (walk.entry & kUserPage) != 0;
  return finish(walk, (walk.entry & 0xfffff000) + (walk.va & kPageOffsetMask), kPageSize);
}

// PAE, 4-level and 5-level paging share 8-byte entries. SDM 3A 4.4, 4.5.
Translation Mmu::walk_wide(Walk& walk) {
  const bool is_long = (state_.efer & x86::kEferLma) != 0;
  int level = 2;
  u64 table = 0;
  if (is_long) {
    level = (state_.cr4 & x86::kCr4La57) != 0 ? 5 : 4;
    table = state_.cr3 & kAddressMask;
  } else {
    const u64 pointer = state_.pdpte[(walk.va >> 30) & 3];
    if ((pointer & kPresent) == 0) return fault(walk, 0);
    table = pointer & kAddressMask;
  }
  const u64 reserved = reserved_mask() | (is_long ? 0 : 0x7ff0000000000000);
  for (;; --level) {
    const unsigned shift = 12 + 9 * static_cast<unsigned>(level - 1);
    if (!read_entry(walk, table + ((walk.va >> shift) & 0x1ff) * 8, 8)) return fault(walk, 0);
    const bool is_large = (walk.entry & kLarge) != 0 && level > 1;
    u64 bad = reserved;
    if (is_large) bad |= level > 3 ? kLarge : ((u64{1} << shift) - 1) & 0xffffffffe000;
    if ((walk.entry & bad) != 0) return fault(walk, x86::kPfPresent | x86::kPfReserved);
    walk.is_writable &= (walk.entry & kWritable) != 0;
    walk.is_user &= (walk.entry & kUserPage) != 0;
    walk.is_executable &= (walk.entry & kNoExecute) == 0;
    if (is_large || level == 1) {
      const u64 mask = (u64{1} << shift) - 1;
      return finish(walk, (walk.entry & kAddressMask & ~mask) + (walk.va & mask), mask + 1);
    }
    if (!update_entry(walk.entry_address, walk.entry, kAccessed, 8)) {
      walk.must_restart = true;
      return {};
    }
    table = walk.entry & kAddressMask;
  }
}

Translation Mmu::walk(GuestVirt address, Access access, AccessMode mode) {
  if ((state_.cr0 & x86::kCr0Pg) == 0) {
    Translation result;
    result.is_valid = true;
    result.is_writable = true;
    result.physical = GuestPhys(address.value() & 0xffffffff);
    return result;
  }
  for (;;) {
    Walk walk{.va = address.value(), .access = access, .mode = mode};
    const Translation result = (state_.cr4 & x86::kCr4Pae) != 0 ? walk_wide(walk) : walk_legacy(walk);
    if (walk.must_restart) continue;
    ++(result.is_valid ? statistics_.walks : statistics_.failed_walks)[walk.entries];
    return result;
  }
}

}  // namespace doppel
