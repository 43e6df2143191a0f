// Registers and bits of the 16550A. PC16550D data sheet, table II.
#pragma once

#include "base/types.h"

namespace doppel::uart16550 {

// Data sheet table II. Register offsets; the first three have a second meaning when written or under DLAB.
inline constexpr u64 kDataRegister = 0;
inline constexpr u64 kInterruptEnableRegister = 1;
inline constexpr u64 kInterruptIdRegister = 2;
inline constexpr u64 kLineControlRegister = 3;
inline constexpr u64 kModemControlRegister = 4;
inline constexpr u64 kLineStatusRegister = 5;
inline constexpr u64 kModemStatusRegister = 6;
inline constexpr u64 kScratchRegister = 7;

inline constexpr u8 kEnableReceived = 1 << 0;
inline constexpr u8 kEnableTransmitted = 1 << 1;
inline constexpr u8 kEnableLineStatus = 1 << 2;
inline constexpr u8 kEnableModemStatus = 1 << 3;

inline constexpr u8 kInterruptModemStatus = 0x0;
inline constexpr u8 kNoInterrupt = 0x1;
inline constexpr u8 kInterruptTransmitted = 0x2;
inline constexpr u8 kInterruptReceived = 0x4;
inline constexpr u8 kInterruptLineStatus = 0x6;
inline constexpr u8 kInterruptTimeout = 0xc;
inline constexpr u8 kInterruptIdFifos = 0xc0;

inline constexpr u8 kFifoEnable = 1 << 0;
inline constexpr u8 kFifoClearReceiver = 1 << 1;

inline constexpr u8 kModemDtr = 1 << 0;
inline constexpr u8 kModemRts = 1 << 1;
inline constexpr u8 kModemOut1 = 1 << 2;
inline constexpr u8 kModemOut2 = 1 << 3;
inline constexpr u8 kModemLoop = 1 << 4;
inline constexpr u8 kModemControlMask = 0x1f;

inline constexpr u8 kLineBreak = 1 << 4;
inline constexpr u8 kLineTransmitHoldingEmpty = 1 << 5;
inline constexpr u8 kLineTransmitterEmpty = 1 << 6;

inline constexpr u8 kStatusCts = 1 << 4;
inline constexpr u8 kStatusDsr = 1 << 5;
inline constexpr u8 kStatusRing = 1 << 6;
inline constexpr u8 kStatusCarrier = 1 << 7;
// What a terminal that is always there drives.
inline constexpr u8 kExternalModemInputs = kStatusCts | kStatusDsr | kStatusCarrier;

}  // namespace doppel::uart16550
