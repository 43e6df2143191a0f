// AccessObserver: who sees what a reference does to guest memory before it happens.
#pragma once

#include "memory/address.h"

namespace doppel {

// Called on the thread of the vCPU that executes. See InstructionReference.
class AccessObserver {
 public:
  virtual ~AccessObserver() = default;
  // An instruction is about to read or write `size` bytes of one page. False: it must not, and is abandoned.
  virtual bool may_access(GuestPhys address, u64 size, bool is_write) = 0;
  // A page walk is about to set `bits` of the paging entry at `entry`, which is RAM.
  virtual void will_update(GuestPhys entry, u64 bits) = 0;
  // Has an access been refused since the observer last forgot?
  virtual bool has_refused() const = 0;
};

}  // namespace doppel
