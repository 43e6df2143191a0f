// MachineControl: how a device asks for the whole machine to stop.
#pragma once

#include "base/types.h"

namespace doppel {

enum class StopReason : u8 {
  kPowerOff,    // soft off through ACPI
  kReset,       // the guest pulled a reset line
  kGuestPanic,  // the guest announced that its kernel died
  kDebugExit,   // a test guest chose the process's exit status
};

// Implemented by the machine; devices call it with the device lock held, from a vCPU's access. The machine
// finishes the access and then acts, so a device may be called again after its request. The first request of
// a run counts.
class MachineControl {
 public:
  virtual ~MachineControl() = default;
  // `status` is 0 for kPowerOff and kReset, 1 for kGuestPanic, and 0..255 as the guest chose for kDebugExit.
  virtual void request_stop(StopReason reason, int status) = 0;
};

}  // namespace doppel
