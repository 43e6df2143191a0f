// The fixed virtual addresses that the native child and the guest under test share.
#pragma once

#include "base/types.h"
#include "memory/address.h"

namespace doppel::differential {

// Everything lies below 2 GiB: reachable by disp32, by 32-bit addressing and by 32-bit code.
inline constexpr u64 kCodeBase = 0x10000000;
inline constexpr u64 kCodePages = 2;
inline constexpr u64 kCodeSize = kCodePages * kPageSize;
inline constexpr u64 kStubBase = 0x10010000;  // native only: the way back out of 32-bit code
inline constexpr u64 kDataBase = 0x20000000;  // kDataSize bytes read-write, then one read-only page
inline constexpr u64 kDataSize = 2 * kPageSize;
inline constexpr u64 kReadOnlyBase = kDataBase + kDataSize;
inline constexpr u64 kReadOnlySize = kPageSize;
inline constexpr u64 kDataEnd = kReadOnlyBase + kReadOnlySize;
// A window for stacks, apart from the data so that stray stores rarely reach return addresses.
inline constexpr u64 kStackBase = 0x20008000;
inline constexpr u64 kStackSize = 2 * kPageSize;
// Guests only: the last page of RAM, and behind it one where there is none.
inline constexpr u64 kEdgeBase = 0x7a3f0000;
// Native only: NativeContext. Not a power of two away from the window, where stray accesses tend to go.
inline constexpr u64 kContextBase = 0x35790000;

// Selectors as Linux lays out its GDT, so that both sides see the same values.
inline constexpr u16 kUserCode32 = 0x23;
inline constexpr u16 kUserData = 0x2b;
inline constexpr u16 kUserCode64 = 0x33;

// Code pages are filled with this so that running away traps at once.
inline constexpr u8 kInt3 = 0xcc;

}  // namespace doppel::differential
