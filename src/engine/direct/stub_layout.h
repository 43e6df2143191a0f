// Where a stub process keeps what is not its guest's: code, lists of system calls, signal frames.
#pragma once

#include <linux/filter.h>

#include <array>

#include "base/types.h"
#include "memory/address.h"

namespace doppel::direct {

// In the middle of the lower half, where neither Linux's programs nor its libraries and stacks lie. The rest
// of the lower half is the guest's.
inline constexpr u64 kStubBase = 0x7000'0000'0000;
inline constexpr u64 kCodeOffset = 0;
inline constexpr u64 kCallsOffset = 0x1000;
inline constexpr u64 kFiltersOffset = 0x2000;
inline constexpr u64 kStateOffset = 0x3000;
inline constexpr u64 kSignalStackOffset = 0x4000;
inline constexpr u64 kSignalStackBytes = 0xd000;
inline constexpr u64 kStubBytes = kSignalStackOffset + kSignalStackBytes;
// What a process may map: not the first pages (vm.mmap_min_addr), nor the last one. Linux's x86-64 layout.
inline constexpr u64 kLowestGuest = 0x1'0000;
inline constexpr u64 kHighestGuest = 0x7fff'ffff'f000;

constexpr bool is_guest_address(u64 address) {
  return address >= kLowestGuest && address < kHighestGuest &&
         (address < kStubBase || address >= kStubBase + kStubBytes);
}

struct HostCall {
  u64 number;
  std::array<u64, 6> arguments;
};

// What is to be done: by the stub's first thread when it begins, later by its mapper whenever `sequence`
// changes. The stub cannot write here.
struct StubCalls {
  static constexpr u64 kMost = 72;
  u32 sequence;
  u32 reserved;
  u64 count;
  std::array<HostCall, kMost> calls;
};
static_assert(sizeof(StubCalls) <= kFiltersOffset - kCallsOffset);

// What the threads put themselves under. The stub cannot write here.
struct StubFilters {
  sock_fprog runner;
  sock_fprog mapper;
  std::array<sock_filter, 48> instructions;
};
static_assert(sizeof(StubFilters) <= kStateOffset - kFiltersOffset);

// Written by the stub, and by whatever guest code finds it: nothing in here is believed.
struct StubState {
  u64 signal;
  u64 info;     // address of the siginfo_t,
  u64 context;  // and of the ucontext_t of the last signal; 0 before the first
  u64 fs_base;
  u64 gs_base;
  i64 mapper;    // thread number, or a negative error
  i64 listener;  // descriptor of the filter's listener, a negative error, or kNoListenerYet
  u32 done;      // the last sequence of calls that was done
  u32 reserved;
  std::array<u16, 4> selectors;  // of DS, ES, FS, GS. They are null when guest code begins
};
inline constexpr i64 kNoListenerYet = -5000;

// Offset of the signal handler in the stub's code.
inline constexpr u64 kHandlerOffset = 32;
// The system call with which the stub stops; the filter asks the monitor.
inline constexpr u32 kStopCall = 39;  // getpid

// The code that is copied to kStubBase.
struct StubCode {
  const u8* start;
  u64 size;
};
StubCode stub_code();

}  // namespace doppel::direct
