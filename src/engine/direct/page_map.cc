// Bookkeeping of a stub's pages.
#include "engine/direct/page_map.h"

#include <sys/syscall.h>

namespace doppel::direct {

PageMap::Page PageMap::find(u64 address) const {
  const auto at = regions_.find(address >> kRegionShift);
  if (at == regions_.end()) return {};
  return at->second->pages[(address >> kPageShift) % std::tuple_size_v<decltype(Region::pages)>];
}

void PageMap::enter(u64 address, Page page, bool is_large) {
  std::unique_ptr<Region>& region = regions_[address >> kRegionShift];
  if (!region) region = std::make_unique<Region>();
  Page& known = region->pages[(address >> kPageShift) % region->pages.size()];
  if (known.protection == 0) ++size_;
  known = page;
  region->is_large |= is_large;
}

// Stays on one region.
void PageMap::drop(u64 address, u64 size) {
  const auto at = regions_.find(address >> kRegionShift);
  if (at == regions_.end()) return;
  bool was_mapped = false;
  for (u64 offset = 0; offset < size; offset += kPageSize) {
    Page& page = at->second->pages[((address + offset) >> kPageShift) % at->second->pages.size()];
    if (page.protection == 0) continue;
    was_mapped = true;
    page = {};
    --size_;
  }
  if (!was_mapped || unmaps_all_) return;
  pending_.push_back({SYS_munmap, {address, size}});
  if (pending_.size() > kMostCalls) flush_all();
}

void PageMap::flush_page(u64 address) {
  if (size_ == 0) return;
  const auto at = regions_.find(address >> kRegionShift);
  if (at == regions_.end()) return;
  if (at->second->is_large) {
    drop(address >> kRegionShift << kRegionShift, u64{1} << kRegionShift);
    regions_.erase(at);
  } else {
    drop(address & ~kPageOffsetMask, kPageSize);
  }
}

void PageMap::flush_all() {
  if (size_ == 0 && pending_.empty()) return;
  regions_.clear();
  size_ = 0;
  pending_.clear();
  unmaps_all_ = true;
}

void PageMap::drop_if(u32 frame, u8 protection) {
  if (size_ == 0) return;
  std::vector<u64> found;
  for (const auto& [number, region] : regions_) {
    for (u64 i = 0; i < region->pages.size(); ++i) {
      const Page& page = region->pages[i];
      if (page.frame == frame && (page.protection & protection) != 0)
        found.push_back(number << kRegionShift | i << kPageShift);
    }
  }
  for (const u64 address : found) drop(address, kPageSize);
}

void PageMap::protect_all() { flush_all(); }

std::vector<HostCall> PageMap::take_calls() {
  std::vector<HostCall> calls;
  if (unmaps_all_) {
    constexpr u64 kAbove = kStubBase + kStubBytes;
    calls = {{SYS_munmap, {kLowestGuest, kStubBase - kLowestGuest}},
             {SYS_munmap, {kAbove, kHighestGuest - kAbove}}};
  } else {
    calls = std::move(pending_);
  }
  pending_.clear();
  unmaps_all_ = false;
  return calls;
}

}  // namespace doppel::direct
