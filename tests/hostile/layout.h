// Where a made-up guest keeps what. Guest-physical, and with identity-mapped paging also virtual.
#pragma once

#include "base/types.h"
#include "memory/address.h"

namespace doppel::hostile {

inline constexpr u64 kMemoryBytes = 4 * kMiB;
inline constexpr u64 kGdt = 0x1000;
inline constexpr u64 kIdt = 0x2000;
inline constexpr u64 kLdt = 0x3000;
inline constexpr u64 kTss = 0x4000;       // current task; 8 KiB for the I/O permission bitmap
inline constexpr u64 kOtherTss = 0x7000;  // two tasks to switch to, kTssStride apart
inline constexpr u64 kTssStride = 0x200;
inline constexpr u64 kCode = 0x8000;  // kCodeBytes of instructions
inline constexpr u64 kCodeBytes = 0x4000;
inline constexpr u64 kHandlers = 0xc000;  // a short routine for each vector, kHandlerBytes apart
inline constexpr u64 kHandlerBytes = 16;
inline constexpr u64 kStack = 0x1e000;
inline constexpr u64 kData = 0x20000;
inline constexpr u64 kDataBytes = 0x10000;
inline constexpr u64 kPageTables = 0x100000;

// Where devices answer, and where nothing does.
inline constexpr u64 kApicAddress = 0xfee00000;
inline constexpr u64 kIoApicPage = 0xfec00000;
inline constexpr u64 kNowhere = 0xd0000000;

// GDT selectors.
inline constexpr u16 kCode64 = 0x08;
inline constexpr u16 kCode32 = 0x10;
inline constexpr u16 kCode16 = 0x18;
inline constexpr u16 kDataSegment = 0x20;
inline constexpr u16 kUserCode64 = 0x28;
inline constexpr u16 kUserCode32 = 0x30;
inline constexpr u16 kUserData = 0x38;
inline constexpr u16 kTssSelector = 0x40;  // 16 bytes
inline constexpr u16 kLdtSelector = 0x50;  // 16 bytes
inline constexpr u16 kTaskA = 0x60;
inline constexpr u16 kTaskB = 0x68;
inline constexpr u16 kTaskGateSelector = 0x70;
inline constexpr u16 kCallGateSelector = 0x80;  // 16 bytes
inline constexpr u16 kRandomSelectors = 0x90;   // noise from here to the end
inline constexpr u16 kGdtEntries = 64;

}  // namespace doppel::hostile
