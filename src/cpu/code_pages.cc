// The set of pages.
#include "cpu/code_pages.h"

#include <algorithm>

namespace doppel {

void CodePages::restart(u64 epoch) {
  epoch_ = epoch;
  if (count_ == 0) return;
  std::ranges::fill(table_, u64{0});
  std::ranges::fill(has_size_, false);
  count_ = 0;
}

void CodePages::insert(GuestVirt address, u64 page_size) {
  unsigned size = 0;
  while (size + 1 < kSizes && page_size > u64{1} << kShifts[size]) ++size;
  const u64 entry = entry_of(address.value(), size);
  if (has(entry)) return;
  if (2 * (count_ + 1) > table_.size()) {
    std::vector<u64> old(std::max<std::size_t>(64, 2 * table_.size()));
    old.swap(table_);
    for (const u64 kept : old) {
      if (kept != 0) add(kept);
    }
  }
  add(entry);
  ++count_;
  has_size_[size] = true;
}

bool CodePages::contains(GuestVirt address) const {
  for (unsigned size = 0; size < kSizes; ++size) {
    if (has_size_[size] && has(entry_of(address.value(), size))) return true;
  }
  return false;
}

bool CodePages::has(u64 entry) const {
  if (table_.empty()) return false;
  const std::size_t mask = table_.size() - 1;
  for (std::size_t i = hash(entry) & mask; table_[i] != 0; i = (i + 1) & mask) {
    if (table_[i] == entry) return true;
  }
  return false;
}

void CodePages::add(u64 entry) {
  const std::size_t mask = table_.size() - 1;
  std::size_t i = hash(entry) & mask;
  while (table_[i] != 0) i = (i + 1) & mask;
  table_[i] = entry;
}

}  // namespace doppel
