// What control registers and MSRs say of instructions that run in line.
#include "engine/jit/gates.h"

#include "cpu/flat_segment.h"

namespace doppel::jit {
namespace {

constexpr u64 kSysretFlags = 0x3c7fd7;  // that SYSRET takes from R11. SDM 2B
constexpr u32 kMxcsrReserved = 0xffff0000;

void open_system_instructions(Frame& frame, const Core& core, bool leaves_for_user) {
  const CpuState& state = core.state;
  constexpr u64 kCleared = x86::kArithmeticFlags | x86::kFlagIf | x86::kFlagAc | x86::kFlagTf;
  const bool syscall = (state.efer & x86::kEferSce) != 0 && (state.sfmask & kCleared) == kCleared &&
                       core.is_canonical(state.lstar);
  // Into and out of the kernel by way of the jump caches, which must be those of 64-bit code.
  frame.syscall_closed = syscall && !frame.is_32bit[0] && !frame.is_32bit[1] ? 0 : 1;
  frame.tsc_closed = state.cr4 & x86::kCr4Tsd;
  frame.fsgsbase_closed = ~state.cr4 & x86::kCr4Fsgsbase;
  frame.not_sysret_mask = kSysretFlags & ~(x86::kArithmeticFlags | x86::kFlagReserved1);
  if (!leaves_for_user) frame.not_sysret_mask &= ~x86::kFlagIf;
  frame.kept_by_syscall = ~state.sfmask | x86::kFlagReserved1;
  frame.syscall_target = state.lstar;
  const u16 to_kernel = static_cast<u16>(state.star >> 32) & 0xfffc;
  const auto to_user = static_cast<u16>(state.star >> 48);
  frame.system_segments = {
      {{flat_code_segment(to_kernel, 0, true), flat_data_segment(static_cast<u16>(to_kernel + 8), 0)},
       {flat_code_segment(static_cast<u16>((to_user + 16) | 3), 3, true),
        flat_data_segment(static_cast<u16>((to_user + 8) | 3), 3)}}};
}

void open_segments(Frame& frame, const CpuState& state) {
  frame.fs_closed = is_whole_data(state.segment(x86::kFs)) ? 0 : 1;
  frame.gs_closed = is_whole_data(state.segment(x86::kGs)) ? 0 : 1;
}

void open_vectors(Frame& frame, const CpuState& state) {
  const bool has_ts = (state.cr0 & x86::kCr0Ts) != 0;
  const bool is_masked = (state.fx.mxcsr & (kMxcsrMasks | kMxcsrReserved)) == kMxcsrMasks;
  constexpr u64 kAvxState = x86::kXcr0Sse | x86::kXcr0Avx;
  const bool sse = !has_ts && (state.cr0 & x86::kCr0Em) == 0 && (state.cr4 & x86::kCr4Osfxsr) != 0;
  const bool avx = !has_ts && (state.cr4 & x86::kCr4Osxsave) != 0 && (state.xcr0 & kAvxState) == kAvxState;
  // All x87 exceptions masked, so none is pending, and none will be. SDM 1 8.1.5.
  constexpr u16 kX87Masks = 0x3f;
  constexpr u16 kX87Summary = 0x8080;  // ES and B
  const bool x87 = !has_ts && (state.cr0 & x86::kCr0Em) == 0 && (state.fx.fcw & kX87Masks) == kX87Masks &&
                   (state.fx.fsw & kX87Summary) == 0;
  frame.vector_gates = {sse && is_masked ? 1u : 0u, avx && is_masked ? 1u : 0u, x87 ? 1u : 0u};
  frame.vectors = {};
}

}  // namespace

void open_gates(Frame& frame, const Core& core, bool leaves_for_user) {
  open_system_instructions(frame, core, leaves_for_user);
  open_segments(frame, core.state);
  open_vectors(frame, core.state);
}

}  // namespace doppel::jit
