// Matching accesses against watchpoints.
#include "cpu/data_watch.h"

#include <algorithm>

namespace doppel {

bool DataWatch::is_watched_page(GuestVirt address) const {
  const u64 page = address.page_number();
  return std::ranges::any_of(watchpoints_, [page](const Watchpoint& watchpoint) {
    const u64 last = watchpoint.address.value() + (watchpoint.size - 1);
    return page - watchpoint.address.page_number() <= (last >> kPageShift) - watchpoint.address.page_number();
  });
}

bool DataWatch::note(GuestVirt address, u64 size, Access access) {
  const bool is_write = access != Access::kRead;
  for (const Watchpoint& watchpoint : watchpoints_) {
    if (!(is_write ? watchpoint.on_write : watchpoint.on_read)) continue;
    // One of the two starts inside the other.
    const bool overlaps =
        address - watchpoint.address < watchpoint.size || watchpoint.address - address < size;
    if (!overlaps) continue;
    if (is_deferring_) {
      has_deferred_ = true;
      return false;
    }
    if (!hit_ && access != Access::kProbe)
      hit_ = DebugHit{DebugCause::kWatchpoint, watchpoint.address, is_write};
    return true;
  }
  return true;
}

}  // namespace doppel
