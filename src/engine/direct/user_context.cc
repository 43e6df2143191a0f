// Linux's x86-64 signal frame: general registers, then the XSAVE area in its standard form. SDM 1 13.4.
#include "engine/direct/user_context.h"

#include <ucontext.h>
#include <csignal>

#include <cstring>

namespace doppel::direct {
namespace {

constexpr int kGregs[x86::kGprCount] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                        REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                        REG_R12, REG_R13, REG_R14, REG_R15};
constexpr u64 kSyscallBytes = 2;

struct XsaveArea {
  FxsaveArea legacy;
  u64 present;
  u64 compaction;
  std::array<u64, 6> reserved;
  std::array<std::array<u64, 2>, 16> upper;  // of the YMM registers: at 576, wherever XSAVE is. SDM 1 13.5.3
};
static_assert(offsetof(XsaveArea, upper) == 576);
constexpr u64 kX87AndVectors = x86::kXcr0X87 | x86::kXcr0Sse | x86::kXcr0Avx;

struct Frame {
  ucontext_t* context = nullptr;
  XsaveArea* vectors = nullptr;
};

// The frame of the last signal, if it lies where the kernel puts it.
Frame frame_of(StubProcess& stub) {
  Frame frame;
  frame.context = static_cast<ucontext_t*>(stub.on_signal_stack(stub.state().context, sizeof(ucontext_t)));
  if (frame.context == nullptr) return {};
  const u64 vectors = reinterpret_cast<u64>(frame.context->uc_mcontext.fpregs);
  frame.vectors = static_cast<XsaveArea*>(stub.on_signal_stack(vectors, sizeof(XsaveArea)));
  return frame.vectors == nullptr || vectors % 64 != 0 ? Frame{} : frame;
}

void take_vectors(const XsaveArea& from, CpuState& state) {
  const u32 mask = state.fx.mxcsr_mask;
  std::memcpy(&state.fx, &from.legacy, offsetof(FxsaveArea, unused_xmm));
  state.fx.mxcsr &= mask;
  state.fx.mxcsr_mask = mask;
  state.fx.reserved1 = 0;
  const bool has_upper = (from.present & x86::kXcr0Avx) != 0;
  for (unsigned i = 0; i < state.ymm.size(); ++i) {
    std::memcpy(state.ymm[i].qword.data(), from.legacy.unused_xmm[i].data(), 16);
    state.ymm[i].qword[2] = has_upper ? from.upper[i][0] : 0;
    state.ymm[i].qword[3] = has_upper ? from.upper[i][1] : 0;
  }
}

// What the guest does not have is in its initial state.
void put_vectors(const CpuState& state, XsaveArea& to) {
  const u32 mask = to.legacy.mxcsr_mask;
  std::memcpy(&to.legacy, &state.fx, offsetof(FxsaveArea, unused_xmm));
  to.legacy.mxcsr_mask = mask;
  for (unsigned i = 0; i < state.ymm.size(); ++i) {
    std::memcpy(to.legacy.unused_xmm[i].data(), state.ymm[i].qword.data(), 16);
    to.upper[i] = {state.ymm[i].qword[2], state.ymm[i].qword[3]};
  }
  to.present = kX87AndVectors;
  to.compaction = 0;
}

// What the signal means for the guest. RIP is that of a system call again.
StopReport report_of(StubProcess& stub, const Frame& frame, CpuState& state) {
  const greg_t* gregs = frame.context->uc_mcontext.gregs;
  const auto vector = static_cast<u64>(gregs[REG_TRAPNO]);
  switch (static_cast<int>(stub.state().signal)) {
    case SIGUSR1:
      return {.stop = Stop::kKick};
    case SIGSYS: {
      const auto* info = static_cast<siginfo_t*>(stub.on_signal_stack(stub.state().info, sizeof(siginfo_t)));
      if (info == nullptr) return {};
      const auto call = reinterpret_cast<u64>(info->si_call_addr);
      if (call >> 63 != 0) {
        // The host's own page of old system calls, which returned to the caller.
        state.rip = call;
        state.gpr[x86::kRsp] -= 8;
      } else {
        state.rip -= kSyscallBytes;
      }
      return {.stop = Stop::kInstruction};
    }
    case SIGSEGV:
    case SIGBUS:
      if (vector == x86::kVectorPf) {
        return {.stop = Stop::kPageFault,
                .address = static_cast<u64>(gregs[REG_CR2]),
                .error_code = static_cast<u32>(gregs[REG_ERR])};
      }
      return {.stop = Stop::kInstruction};
    case SIGTRAP:
      if (vector == x86::kVectorDb && (state.rflags & x86::kFlagTf) != 0) return {.stop = Stop::kDebugTrap};
      return {.stop = Stop::kTrap};
    case SIGILL:
    case SIGFPE:
      return {.stop = Stop::kInstruction};
    default:
      return {};
  }
}

}  // namespace

StopReport take_context(StubProcess& stub, CpuState& state) {
  const Frame frame = frame_of(stub);
  if (frame.context == nullptr) return {};
  const greg_t* gregs = frame.context->uc_mcontext.gregs;
  for (unsigned i = 0; i < x86::kGprCount; ++i) state.gpr[i] = static_cast<u64>(gregs[kGregs[i]]);
  state.rip = static_cast<u64>(gregs[REG_RIP]);
  state.rflags = (state.rflags & ~kUserFlags) | (static_cast<u64>(gregs[REG_EFL]) & kUserFlags);
  state.segments[x86::kFs].base = stub.state().fs_base;
  state.segments[x86::kGs].base = stub.state().gs_base;
  take_vectors(*frame.vectors, state);
  StopReport report = report_of(stub, frame, state);
  report.code_selector = static_cast<u16>(gregs[REG_CSGSFS]);
  report.data_selectors = stub.state().selectors;
  return report;
}

bool put_context(StubProcess& stub, const CpuState& state) {
  const Frame frame = frame_of(stub);
  if (frame.context == nullptr) return false;
  greg_t* gregs = frame.context->uc_mcontext.gregs;
  for (unsigned i = 0; i < x86::kGprCount; ++i) gregs[kGregs[i]] = static_cast<greg_t>(state.gpr[i]);
  gregs[REG_RIP] = static_cast<greg_t>(state.rip);
  gregs[REG_CSGSFS] = static_cast<greg_t>(kUserCode | u64{kUserData} << 48);
  gregs[REG_EFL] = static_cast<greg_t>((state.rflags & kUserFlags) | x86::kFlagIf | x86::kFlagReserved1);
  stub.state().fs_base = state.segments[x86::kFs].base;
  stub.state().gs_base = state.segments[x86::kGs].base;
  // Guest code may have returned from a signal that never was.
  frame.context->uc_stack = {.ss_sp = reinterpret_cast<void*>(kStubBase + kSignalStackOffset),
                             .ss_flags = 0,
                             .ss_size = kSignalStackBytes};
  std::memset(&frame.context->uc_sigmask, 0, sizeof(u64));
  put_vectors(state, *frame.vectors);
  return true;
}

}  // namespace doppel::direct
