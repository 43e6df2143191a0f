// What passes between a machine and its debugger.
#pragma once

#include <functional>

#include "cpu/cpu_state.h"
#include "cpu/debug.h"

namespace doppel {

// A vCPU's registers, with the one that lives outside CpuState.
struct DebugRegisters {
  CpuState cpu;
  u64 cr8 = 0;
};

// Why a machine that a debugger let run stands still, without having been asked to.
struct DebugStop {
  bool is_end = false;  // power-off, reset, triple fault, quit: nothing runs any more
  unsigned cpu = 0;
  DebugHit hit = {};  // of this CPU
};

// How a vCPU goes on.
enum class DebugMotion : u8 { kHold, kStep, kContinue };

// Hears why the machine stands still; called from one of the machine's threads, and must not block.
using DebugListener = std::function<void(const DebugStop&)>;

}  // namespace doppel
