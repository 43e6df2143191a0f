// WritablePages: pages that translated code could write, before and after a block, for stores astray.
#pragma once

#include <vector>

#include "cpu/core.h"
#include "engine/lockstep/touched_memory.h"

namespace doppel::lockstep {

// What the interpreter touches is compared after every block. A store of translated code to any other place
// needs an entry in the TLB; looking at all of those pages is for one block in many. Used on one vCPU's
// thread.
class WritablePages {
 public:
  // At most so many pages, others the next time.
  static constexpr unsigned kMostPages = 512;

  // Copies the pages that the vCPU may write now without a walk.
  void remember(Core& core);
  // Bytes of them that changed since, but for those that `touched` knows; at most `most`.
  std::vector<ByteDifference> strays(const TouchedMemory& touched, unsigned most) const;

 private:
  struct Page {
    GuestPhys address;
    const u8* host;
    std::array<u8, kPageSize> before;
  };
  std::vector<Page> pages_;
  unsigned next_entry_ = 0;  // of the TLB
};

}  // namespace doppel::lockstep
