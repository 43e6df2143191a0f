// Where the guest's registers live while translated code runs.
#pragma once

#include <array>

#include "base/types.h"
#include "x86/registers.h"

namespace doppel::jit {

// Host registers by number, as in ModRM and REX.
using Host = u8;

// RSP points to the Frame. Ten of the guest's general registers are in the host's of the same number, RSP and
// RCX in others, R12 to R15 in the frame; vector registers are in the host's of the same number. Three
// registers hold nothing between instructions; RCX is one of them because JRCXZ is the one branch that needs
// no flags, and the guest's flags stay in the host's all the time.
inline constexpr Host kFrameRegister = x86::kRsp;
inline constexpr Host kGuestRsp = x86::kR12;
inline constexpr Host kGuestRcx = x86::kR13;
inline constexpr Host kAddress = x86::kR14;  // scratch: mostly a guest-virtual address
inline constexpr Host kAddend = x86::kR15;   // scratch: mostly what makes it a host address
inline constexpr Host kTest = x86::kRcx;     // scratch: mostly what JRCXZ looks at
inline constexpr Host kInFrame = 0xff;

inline constexpr unsigned kFirstInFrame = x86::kR12;

constexpr Host host_register(unsigned guest) {
  if (guest >= kFirstInFrame) return kInFrame;
  if (guest == x86::kRsp) return kGuestRsp;
  if (guest == x86::kRcx) return kGuestRcx;
  return static_cast<Host>(guest);
}

}  // namespace doppel::jit
