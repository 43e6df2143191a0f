// Model-specific register numbers. SDM 4 chapter 2; KVM paravirtual numbers from the kernel's msr.rst.
#pragma once

#include "base/types.h"

namespace doppel::x86 {

enum Msr : u32 {
  kMsrTsc = 0x10,
  kMsrPlatformId = 0x17,
  kMsrApicBase = 0x1b,
  kMsrFeatureControl = 0x3a,
  kMsrTscAdjust = 0x3b,
  kMsrSpecCtrl = 0x48,
  kMsrPredCmd = 0x49,
  kMsrMicrocodeUpdate = 0x79,
  kMsrBiosSignId = 0x8b,
  kMsrMtrrCap = 0xfe,
  kMsrArchCapabilities = 0x10a,
  kMsrSysenterCs = 0x174,
  kMsrSysenterEsp = 0x175,
  kMsrSysenterEip = 0x176,
  kMsrMcgCap = 0x179,
  kMsrMcgStatus = 0x17a,
  kMsrMcgCtl = 0x17b,
  kMsrMiscEnable = 0x1a0,
  kMsrMtrrPhysBase0 = 0x200,
  kMsrMtrrFix64k = 0x250,
  kMsrMtrrFix16k0 = 0x258,
  kMsrMtrrFix16k1 = 0x259,
  kMsrMtrrFix4k0 = 0x268,
  kMsrPat = 0x277,
  kMsrMtrrDefType = 0x2ff,
  kMsrTscDeadline = 0x6e0,
  kMsrX2ApicFirst = 0x800,
  kMsrX2ApicLast = 0x8ff,
  kMsrEfer = 0xc0000080,
  kMsrStar = 0xc0000081,
  kMsrLstar = 0xc0000082,
  kMsrCstar = 0xc0000083,
  kMsrSfmask = 0xc0000084,
  kMsrFsBase = 0xc0000100,
  kMsrGsBase = 0xc0000101,
  kMsrKernelGsBase = 0xc0000102,
  kMsrTscAux = 0xc0000103,
  kMsrKvmWallClock = 0x11,
  kMsrKvmSystemTime = 0x12,
  kMsrKvmWallClockNew = 0x4b564d00,
  kMsrKvmSystemTimeNew = 0x4b564d01,
  kMsrKvmAsyncPfEn = 0x4b564d02,
  kMsrKvmStealTime = 0x4b564d03,
  kMsrKvmPvEoiEn = 0x4b564d04,
  kMsrKvmPollControl = 0x4b564d05,
};

// Fields of IA32_APIC_BASE. SDM 3A 10.4.4.
inline constexpr u64 kApicBaseBsp = 1u << 8;
inline constexpr u64 kApicBaseX2Apic = 1u << 10;
inline constexpr u64 kApicBaseEnable = 1u << 11;
inline constexpr u64 kApicBaseDefault = 0xfee00000;

}  // namespace doppel::x86
