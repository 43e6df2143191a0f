// Keeps the free list and copies into claimed RAM.
#include "boot/boot_memory.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/verify.h"

namespace doppel {

BorrowedRam::~BorrowedRam() {
  if (owner_ == nullptr) return;
  const u64 size = align_up(size_, kPageSize);
  owner_->memory_.discard(start_, size);
  owner_->give_back({start_.value(), start_.value() + size});
}

std::span<u8> BorrowedRam::bytes() const { return {owner_->memory_.host(start_), size_}; }

BootMemory::BootMemory(GuestMemory& memory, std::span<const E820Entry> e820) : memory_(memory) {
  for (const E820Entry entry : e820) {
    if (entry.type != kE820Ram || !memory.is_ram(GuestPhys(entry.base), entry.size)) continue;
    const Range range = {std::max(entry.base, kFirstUsable), entry.base + entry.size};
    if (range.start < range.end) free_.push_back(range);
  }
  std::ranges::sort(free_, {}, &Range::start);
}

void BootMemory::take(std::size_t index, Range used) {
  const Range old = free_[index];
  VERIFY(old.start <= used.start && used.start <= used.end && used.end <= old.end);
  const auto place = free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(index));
  const Range parts[] = {{old.start, used.start}, {used.end, old.end}};
  std::vector<Range> left;
  std::ranges::copy_if(parts, std::back_inserter(left),
                       [](const Range& part) { return part.start < part.end; });
  free_.insert(place, left.begin(), left.end());
}

void BootMemory::give_back(Range range) {
  const auto next = std::ranges::lower_bound(free_, range.start, {}, &Range::start);
  auto place = free_.insert(next, range);
  const auto join_next = [this](auto first) {
    const auto second = std::next(first);
    if (second == free_.end() || first->end != second->start) return;
    first->end = second->end;
    free_.erase(second);
  };
  join_next(place);
  if (place != free_.begin()) join_next(std::prev(place));
}

bool BootMemory::claim(GuestPhys start, u64 size) {
  if (size == 0) return true;
  const u64 first = start.value();
  for (std::size_t index = 0; index < free_.size(); ++index) {
    const Range range = free_[index];
    if (range.start <= first && first < range.end && size <= range.end - first) {
      take(index, {first, first + size});
      return true;
    }
  }
  return false;
}

std::optional<GuestPhys> BootMemory::claim_highest(u64 size, u64 alignment, u64 limit) {
  limit = std::min(limit, GuestMemory::kHighRamStart);
  for (std::size_t index = free_.size(); index-- > 0;) {
    const Range range = free_[index];
    const u64 end = std::min(range.end, limit);
    if (end <= range.start || size > end - range.start) continue;
    const u64 start = align_down(end - size, alignment);
    if (start < range.start) continue;
    take(index, {start, start + size});
    return GuestPhys(start);
  }
  return std::nullopt;
}

std::optional<GuestPhys> BootMemory::claim_lowest(u64 size, u64 alignment, u64 limit) {
  for (std::size_t index = 0; index < free_.size(); ++index) {
    const Range range = free_[index];
    if (range.end > GuestMemory::kHighRamStart) break;
    if (limit >= range.end) continue;
    const u64 start = align_up(std::max(range.start, limit), alignment);
    if (start >= range.end || size > range.end - start) continue;
    take(index, {start, start + size});
    return GuestPhys(start);
  }
  return std::nullopt;
}

std::optional<BorrowedRam> BootMemory::borrow(u64 size, u64 floor) {
  const u64 rounded = align_up(size, kPageSize);
  for (std::size_t index = free_.size(); index-- > 0;) {
    const u64 end = align_down(free_[index].end, kPageSize);
    const u64 lowest = std::max(free_[index].start, floor);
    if (rounded < size || end <= lowest || rounded > end - lowest) continue;
    const GuestPhys start(end - rounded);
    take(index, {start.value(), end});
    memory_.note_write(start, rounded);
    return BorrowedRam(*this, start, size);
  }
  return std::nullopt;
}

void BootMemory::fill(GuestPhys start, std::span<const u8> data, u64 size) {
  VERIFY(data.size() <= size && memory_.is_ram(start, size));
  u8* target = memory_.host(start);
  if (!data.empty()) std::memcpy(target, data.data(), data.size());
  if (size > data.size()) std::memset(target + data.size(), 0, size - data.size());
  memory_.note_write(start, size);
}

Result<void> BootMemory::load(std::string_view what, GuestPhys start, std::span<const u8> data, u64 size) {
  if (!claim(start, size)) {
    if (!memory_.is_ram(start, size)) {
      return fail("{}: needs {} KiB of RAM at {:#x}, outside the guest's {} MiB; give the guest more memory",
                  what, align_up(size, kKiB) / kKiB, start.value(), memory_.size() / kMiB);
    }
    return fail("{}: wants {} KiB at {:#x}, which overlaps a reserved area or another part of it", what,
                align_up(size, kKiB) / kKiB, start.value());
  }
  fill(start, data, size);
  return {};
}

Result<GuestPhys> BootMemory::store(std::string_view what, std::span<const u8> data, u64 alignment) {
  auto place = claim_highest(data.size(), alignment, kEbdaStart);
  if (!place) place = claim_highest(data.size(), alignment, GuestMemory::kHighRamStart);
  if (!place) return fail("{}: no room left in {} MiB of guest memory", what, memory_.size() / kMiB);
  fill(*place, data, data.size());
  return *place;
}

Result<GuestPhys> BootMemory::store_string(std::string_view what, std::string_view text) {
  std::vector<u8> bytes(text.begin(), text.end());
  bytes.push_back(0);
  return store(what, bytes, 16);
}

}  // namespace doppel
