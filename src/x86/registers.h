// Names and bits of the architectural registers. SDM 1 chapter 3, SDM 3A chapter 2.
#pragma once

#include "base/types.h"

namespace doppel::x86 {

enum Gpr : u8 {
  kRax,
  kRcx,
  kRdx,
  kRbx,
  kRsp,
  kRbp,
  kRsi,
  kRdi,
  kR8,
  kR9,
  kR10,
  kR11,
  kR12,
  kR13,
  kR14,
  kR15
};
inline constexpr unsigned kGprCount = 16;

// Segment registers in the encoding order of the reg field. SDM 2A table 2-... "sreg".
enum SegmentIndex : u8 { kEs, kCs, kSs, kDs, kFs, kGs };
inline constexpr unsigned kSegmentCount = 6;

// RFLAGS. SDM 1 3.4.3.
inline constexpr u64 kFlagCf = 1u << 0;
inline constexpr u64 kFlagReserved1 = 1u << 1;
inline constexpr u64 kFlagPf = 1u << 2;
inline constexpr u64 kFlagAf = 1u << 4;
inline constexpr u64 kFlagZf = 1u << 6;
inline constexpr u64 kFlagSf = 1u << 7;
inline constexpr u64 kFlagTf = 1u << 8;
inline constexpr u64 kFlagIf = 1u << 9;
inline constexpr u64 kFlagDf = 1u << 10;
inline constexpr u64 kFlagOf = 1u << 11;
inline constexpr u64 kFlagIopl = 3u << 12;
inline constexpr unsigned kFlagIoplShift = 12;
inline constexpr u64 kFlagNt = 1u << 14;
inline constexpr u64 kFlagRf = 1u << 16;
inline constexpr u64 kFlagVm = 1u << 17;
inline constexpr u64 kFlagAc = 1u << 18;
inline constexpr u64 kFlagVif = 1u << 19;
inline constexpr u64 kFlagVip = 1u << 20;
inline constexpr u64 kFlagId = 1u << 21;
inline constexpr u64 kArithmeticFlags = kFlagCf | kFlagPf | kFlagAf | kFlagZf | kFlagSf | kFlagOf;

// CR0. SDM 3A 2.5.
inline constexpr u64 kCr0Pe = 1u << 0;
inline constexpr u64 kCr0Mp = 1u << 1;
inline constexpr u64 kCr0Em = 1u << 2;
inline constexpr u64 kCr0Ts = 1u << 3;
inline constexpr u64 kCr0Et = 1u << 4;
inline constexpr u64 kCr0Ne = 1u << 5;
inline constexpr u64 kCr0Wp = 1u << 16;
inline constexpr u64 kCr0Am = 1u << 18;
inline constexpr u64 kCr0Nw = 1u << 29;
inline constexpr u64 kCr0Cd = 1u << 30;
inline constexpr u64 kCr0Pg = 1u << 31;

// CR4. SDM 3A 2.5.
inline constexpr u64 kCr4Vme = 1u << 0;
inline constexpr u64 kCr4Pvi = 1u << 1;
inline constexpr u64 kCr4Tsd = 1u << 2;
inline constexpr u64 kCr4De = 1u << 3;
inline constexpr u64 kCr4Pse = 1u << 4;
inline constexpr u64 kCr4Pae = 1u << 5;
inline constexpr u64 kCr4Mce = 1u << 6;
inline constexpr u64 kCr4Pge = 1u << 7;
inline constexpr u64 kCr4Pce = 1u << 8;
inline constexpr u64 kCr4Osfxsr = 1u << 9;
inline constexpr u64 kCr4Osxmmexcpt = 1u << 10;
inline constexpr u64 kCr4Umip = 1u << 11;
inline constexpr u64 kCr4La57 = 1u << 12;
inline constexpr u64 kCr4Fsgsbase = 1u << 16;
inline constexpr u64 kCr4Pcide = 1u << 17;
inline constexpr u64 kCr4Osxsave = 1u << 18;
inline constexpr u64 kCr4Smep = 1u << 20;
inline constexpr u64 kCr4Smap = 1u << 21;

// IA32_EFER. SDM 4 table 2-2.
inline constexpr u64 kEferSce = 1u << 0;
inline constexpr u64 kEferLme = 1u << 8;
inline constexpr u64 kEferLma = 1u << 10;
inline constexpr u64 kEferNxe = 1u << 11;

// XCR0 state components. SDM 1 13.1.
inline constexpr u64 kXcr0X87 = 1u << 0;
inline constexpr u64 kXcr0Sse = 1u << 1;
inline constexpr u64 kXcr0Avx = 1u << 2;

// DR6 and DR7. SDM 3B 17.2.
inline constexpr u64 kDr6Fixed = 0xffff0ff0;
inline constexpr u64 kDr6Bd = 1u << 13;
inline constexpr u64 kDr6Bs = 1u << 14;
inline constexpr u64 kDr6Bt = 1u << 15;
inline constexpr u64 kDr7Fixed = 0x400;
inline constexpr u64 kDr7Gd = 1u << 13;

// Exception vectors. SDM 3A table 6-1.
enum Vector : u8 {
  kVectorDe = 0,
  kVectorDb = 1,
  kVectorNmi = 2,
  kVectorBp = 3,
  kVectorOf = 4,
  kVectorBr = 5,
  kVectorUd = 6,
  kVectorNm = 7,
  kVectorDf = 8,
  kVectorTs = 10,
  kVectorNp = 11,
  kVectorSs = 12,
  kVectorGp = 13,
  kVectorPf = 14,
  kVectorMf = 16,
  kVectorAc = 17,
  kVectorMc = 18,
  kVectorXm = 19,
};

// Page-fault error code. SDM 3A 4.7.
inline constexpr u32 kPfPresent = 1u << 0;
inline constexpr u32 kPfWrite = 1u << 1;
inline constexpr u32 kPfUser = 1u << 2;
inline constexpr u32 kPfReserved = 1u << 3;
inline constexpr u32 kPfFetch = 1u << 4;

}  // namespace doppel::x86
