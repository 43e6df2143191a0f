// MsiSink: where message-signalled interrupts of PCI functions go.
#pragma once

#include "base/types.h"

namespace doppel {

// The interrupt range of the system bus as a PCI function sees it: a write of `data` to `address` is an
// interrupt (SDM 3A 10.11). Owned by the machine, which decodes the message; called with the device lock
// held.
class MsiSink {
 public:
  virtual ~MsiSink() = default;
  virtual void send(u64 address, u32 data) = 0;
};

}  // namespace doppel
