// NativeContext: the fixed-address block through which native_entry.cc enters and leaves test code.
#pragma once

#include <cstddef>

#include "tests/differential/layout.h"
#include "tests/differential/user_state.h"

namespace doppel::differential {

// Lives at kContextBase, so that it is reachable without any register. One per worker process.
struct NativeContext {
  UserState in;
  UserState out;
  u64 host_rsp;
  u64 host_fs;
  u64 host_gs;
  u64 launch;      // jumped to with the test's registers loaded
  u64 landing;     // where pads jump
  u32 far_offset;  // far pointer into 32-bit code
  u32 far_selector;
  u32 pad_index;  // which pad was reached
  u32 is_active;  // test code is running: faults are results
  int vector;
  u32 error_code;
  u64 cr2;
};
static_assert(offsetof(NativeContext, out) == 0x400 && offsetof(NativeContext, host_rsp) == 0x800);
static_assert(offsetof(NativeContext, launch) == 0x818 && offsetof(NativeContext, far_offset) == 0x828);
static_assert(offsetof(NativeContext, pad_index) == 0x830);

inline NativeContext& native_context() { return *reinterpret_cast<NativeContext*>(kContextBase); }

}  // namespace doppel::differential

extern "C" {
// Loads native_context().in, jumps to .launch and returns when a pad or a fault came back.
void doppel_native_enter();
// Where pads and the 32-bit way back jump: stores all registers into native_context().out.
void doppel_native_landing();
// Signal entry: puts the host's FS and GS bases back, then calls doppel_native_fault().
void doppel_native_signal(int signal, void* info, void* context);
// Leaves a fault handler for good: returns from doppel_native_enter().
[[noreturn]] void doppel_native_resume();
void doppel_native_fault(int signal, void* info, void* context);
}
