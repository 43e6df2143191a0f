// A signal frame's registers and the vCPU's, in both directions.
#pragma once

#include <optional>

#include "cpu/cpu_state.h"
#include "engine/direct/stub_process.h"

namespace doppel::direct {

// Why guest code stopped.
enum class Stop : u8 {
  kKick,
  kPageFault,
  kInstruction,  // the instruction at RIP did it: it is for the interpreter
  kTrap,         // INT3 or INT1, which RIP may be behind
  kDebugTrap,    // RFLAGS.TF is set
  kLost,         // what the stub says makes no sense, or it is gone
};

struct StopReport {
  Stop stop = Stop::kLost;
  u16 code_selector = 0;
  std::array<u16, 4> data_selectors = {};  // DS, ES, FS, GS
  u64 address = 0;                         // of the page fault,
  u32 error_code = 0;                      // and its error code. SDM 3A 4.7
};

// The selectors that Linux gives 64-bit processes, and so the stubs.
inline constexpr u16 kUserCode = 0x33;
inline constexpr u16 kUserData = 0x2b;

// Flags that code at privilege 3 changes.
inline constexpr u64 kUserFlags =
    x86::kArithmeticFlags | x86::kFlagDf | x86::kFlagTf | x86::kFlagNt | x86::kFlagAc | x86::kFlagId;

// Out of the stub after it stopped. `state` changes unless kLost comes back.
StopReport take_context(StubProcess& stub, CpuState& state);
// Into the stub, before it is resumed. False: it is lost.
bool put_context(StubProcess& stub, const CpuState& state);

}  // namespace doppel::direct
