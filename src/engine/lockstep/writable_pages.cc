// Copying and comparing whole pages.
#include "engine/lockstep/writable_pages.h"

#include <cstring>

namespace doppel::lockstep {
namespace {

constexpr u8 kAccessed = 0x20;  // of a paging entry

// Who looks for the next block's code may have walked.
bool is_walk_to_code(GuestPhys address, u8 before, u8 now) {
  return address.value() % sizeof(u64) == 0 && now == (before | kAccessed);
}

}  // namespace

void WritablePages::remember(Core& core) {
  const TlbSide& side = core.mmu.table(core.access_mode).write;
  pages_.clear();
  for (unsigned i = 0; i < kTlbEntries && pages_.size() < kMostPages; ++i) {
    const unsigned index = next_entry_++ % kTlbEntries;
    if (side.tags[index] == TlbSide::empty_tag(index)) continue;
    const u8* host = reinterpret_cast<const u8*>(side.addends[index] - side.tags[index]);
    pages_.emplace_back();
    Page& page = pages_.back();
    page.address = core.mmu.physical(host);
    page.host = host;
    std::memcpy(page.before.data(), host, kPageSize);
  }
}

std::vector<ByteDifference> WritablePages::strays(const TouchedMemory& touched, unsigned most) const {
  std::vector<ByteDifference> found;
  for (const Page& page : pages_) {
    if (std::memcmp(page.host, page.before.data(), kPageSize) == 0) continue;
    for (u64 at = 0; at < kPageSize && found.size() < most; ++at) {
      const GuestPhys address = page.address + at;
      if (page.host[at] == page.before[at] || touched.has(address)) continue;
      if (is_walk_to_code(address, page.before[at], page.host[at])) continue;
      found.push_back({address, page.host[at], page.before[at]});
    }
  }
  return found;
}

}  // namespace doppel::lockstep
