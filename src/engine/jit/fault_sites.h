// FaultSites: guest instructions that run as they are and may fault in the host, and where to go then.
#pragma once

#include <vector>

#include "base/types.h"

namespace doppel::jit {

// DIV and IDIV, and vector accesses that must be aligned: nothing checks them before; the host's processor
// does, and the signal it leads to sends the vCPU's thread on to a place that leaves translated code. Used on
// the vCPU's thread, its signal handler included.
class FaultSites {
 public:
  // Code memory; positions count from `code`. Faults in it are found from now on, of at most kMaxOwners at
  // once.
  FaultSites(const u8* code, u32 size);
  ~FaultSites();
  FaultSites(const FaultSites&) = delete;
  FaultSites& operator=(const FaultSites&) = delete;
  static constexpr unsigned kMaxOwners = 128;

  // The instruction at `position` continues at `exit` when it faults. Positions only grow until clear().
  void add(u32 position, u32 exit) { sites_.push_back({position, exit}); }
  void clear() { sites_.clear(); }

  // Where the thread goes on, nullptr: not a fault of translated code.
  const u8* exit_of(const u8* instruction) const;

 private:
  struct Site {
    u32 position;
    u32 exit;
  };
  const u8* code_;
  u32 size_;
  std::vector<Site> sites_;
};

}  // namespace doppel::jit
