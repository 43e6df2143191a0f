// Which instructions may run in line now, and with what.
#pragma once

#include "cpu/core.h"
#include "engine/jit/frame.h"

namespace doppel::jit {

// Writes what the state says into the frame. `leaves_for_user`: SYSRET to user code with interrupts on is
// left to the caller.
void open_gates(Frame& frame, const Core& core, bool leaves_for_user);

}  // namespace doppel::jit
