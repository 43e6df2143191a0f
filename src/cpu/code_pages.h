// CodePages: which pages instructions were fetched from, so that flushes of other pages cost nothing.
#pragma once

#include <vector>

#include "base/types.h"
#include "memory/address.h"

namespace doppel {

// Since an epoch began. A large page counts as its region of 2 MiB, or of 1 GiB. Owned by an Mmu.
class CodePages {
 public:
  u64 epoch() const { return epoch_; }
  void restart(u64 epoch);
  void insert(GuestVirt address, u64 page_size);
  // Would a flush of the page of `address` change what instructions are?
  bool contains(GuestVirt address) const;

 private:
  static constexpr unsigned kSizes = 3;
  static constexpr unsigned kShifts[kSizes] = {12, 21, 30};
  // Page number and size in one; never 0.
  static u64 entry_of(u64 address, unsigned size) { return (address >> kShifts[size] << 3) | (size + 1); }
  static std::size_t hash(u64 entry) { return entry * 0x9e3779b97f4a7c15 >> 32; }
  bool has(u64 entry) const;
  void add(u64 entry);

  u64 epoch_ = 0;
  std::vector<u64> table_;  // open addressing, a power of two, at most half full; 0: free
  std::size_t count_ = 0;
  bool has_size_[kSizes] = {};
};

}  // namespace doppel
