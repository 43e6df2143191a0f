// InterruptReturn: where an engine gives back an interrupt that it acknowledged and cannot deliver yet.
#pragma once

#include "base/types.h"

namespace doppel {

// For engines that leave delivery to somebody else. Implemented by the machine; called on the vCPU's thread
// without locks held.
class InterruptReturn {
 public:
  virtual ~InterruptReturn() = default;
  // `vector` came last from CpuPlatform::acknowledge_interrupt(), which gives it again, before all others and
  // whatever the priorities say.
  virtual void return_interrupt(u8 vector) = 0;
};

}  // namespace doppel
