// RunResult: how a run of the machine ended.
#pragma once

#include "base/types.h"

namespace doppel {

// Why run() came back.
enum class RunEnd : u8 {
  kPowerOff,
  kReset,
  kGuestPanic,
  kDebugExit,
  kTripleFault,
  kInstructionLimit,
  kQuit,
  kDiverged,  // the guest does not do what a recording says; reported already
  kMismatch,  // translated code does not do what the interpreter does; reported already
  kHalted,  // with WhenHalted::kReturn, or when the clock counts instructions and no timer could end the halt
};

struct RunResult {
  RunEnd end = RunEnd::kQuit;
  int debug_exit_status = 0;  // with kDebugExit
};

// What run() does when every vCPU halts: wait for an event, or end with kHalted once time moved to the next
// timer.
enum class WhenHalted : u8 { kWait, kReturn };

}  // namespace doppel
