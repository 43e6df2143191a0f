// The model-specific registers that a guest finds something behind.
#pragma once

#include "tests/hostile/choices.h"
#include "x86/msr.h"

namespace doppel::hostile {

inline constexpr u32 kKnownMsrs[] = {x86::kMsrTsc,
                                     x86::kMsrApicBase,
                                     x86::kMsrTscAdjust,
                                     x86::kMsrSpecCtrl,
                                     x86::kMsrPredCmd,
                                     x86::kMsrSysenterCs,
                                     x86::kMsrSysenterEsp,
                                     x86::kMsrSysenterEip,
                                     x86::kMsrMcgStatus,
                                     x86::kMsrMiscEnable,
                                     x86::kMsrPat,
                                     x86::kMsrMtrrDefType,
                                     x86::kMsrMtrrPhysBase0,
                                     x86::kMsrTscDeadline,
                                     x86::kMsrEfer,
                                     x86::kMsrStar,
                                     x86::kMsrLstar,
                                     x86::kMsrCstar,
                                     x86::kMsrSfmask,
                                     x86::kMsrFsBase,
                                     x86::kMsrGsBase,
                                     x86::kMsrKernelGsBase,
                                     x86::kMsrTscAux,
                                     x86::kMsrKvmWallClock,
                                     x86::kMsrKvmSystemTime,
                                     x86::kMsrKvmWallClockNew,
                                     x86::kMsrKvmSystemTimeNew,
                                     x86::kMsrKvmAsyncPfEn,
                                     x86::kMsrKvmStealTime,
                                     x86::kMsrKvmPvEoiEn,
                                     x86::kMsrKvmPollControl};

inline u32 known_msr(Choices& choices) {
  if (choices.percent(25)) return x86::kMsrX2ApicFirst + static_cast<u32>(choices.below(0x40));
  return choices.pick(kKnownMsrs);
}

}  // namespace doppel::hostile
