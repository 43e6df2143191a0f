// Software TLB: translations of one address space for one kind of access, laid out for translated code.
#pragma once

#include <array>

#include "base/types.h"
#include "memory/address.h"

namespace doppel {

// On whose behalf an access is made; each has its own software TLB because rights differ.
enum AccessMode : u8 {
  kSupervisor,    // CPL 0..2, subject to SMAP
  kUser,          // CPL 3
  kSupervisorAc,  // CPL 0..2 with RFLAGS.AC set: SMAP suspended
  kAccessModes,
};

inline constexpr unsigned kTlbEntries = 4096;

constexpr unsigned tlb_index(u64 va) { return static_cast<unsigned>(va >> kPageShift) & (kTlbEntries - 1); }

// The translations for reads, or those for writes. An access of `size` bytes at `va` hits when
// va + tags[tlb_index(va)] <= kPageSize - size: then the sum is its offset in the page, and it does not cross
// into the next one. Separate arrays, so that generated code finds both with one scaled index.
struct TlbSide {
  std::array<u64, kTlbEntries> tags;     // minus the page's address
  std::array<u64, kTlbEntries> addends;  // host address - guest virtual address

  // The tag of an entry without a translation: that of a non-canonical page with another index.
  static constexpr u64 empty_tag(unsigned index) {
    return ~(0xc000'0000'0000'0000 + (u64{index ^ 1} << kPageShift)) + 1;
  }
  // Host pointer for an access that hits, else nullptr.
  u8* find(u64 va, unsigned size) const {
    const unsigned index = tlb_index(va);
    if (va + tags[index] > kPageSize - size) return nullptr;
    return reinterpret_cast<u8*>(va + addends[index]);
  }
  void set(u64 page, u64 addend) {
    tags[tlb_index(page)] = ~page + 1;
    addends[tlb_index(page)] = addend;
  }
  void drop(unsigned index) { tags[index] = empty_tag(index); }
};

// Owned by an Mmu, read by its engine, which may look at the sides only. All members have one access, so that
// their places are known to generated code.
struct TlbTable {
  TlbTable();

  TlbSide read;
  TlbSide write;
  // Entries in use since clear(), some perhaps twice or no more; if they are too many, all count as used.
  std::array<u16, kTlbEntries> used;
  unsigned used_count = 0;
  u64 large_regions = 0;  // bit (va >> 30) & 63: entries that came from large pages lie in that gigabyte

  // Enters a page; `is_large`: as part of a larger one.
  void enter(u64 page, u64 addend, bool is_writable, bool is_large);
  void clear();
  // Drops what may translate the page of `va`: everything when large pages lie near it.
  void drop_page(u64 va);
  // No direct writes any more to the page of host memory at `host`, or to any.
  void drop_writes_to(u64 host);
  void drop_writes();
};

}  // namespace doppel
