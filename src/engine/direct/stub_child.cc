// From a copy of the factory to a stub: its pages, its signals, and into its own code.
#include "engine/direct/stub_child.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <csignal>

#include <cerrno>

namespace doppel::direct {
namespace {

constexpr int kHandled[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGUSR1};
constexpr int kSignals = 64;

// The kernel's struct sigaction.
struct SignalAction {
  u64 handler;
  u64 flags;
  u64 restorer;
  u64 mask;
};
constexpr u64 kRestorer = 0x04000000;

void set_action(int signal, u64 handler, u64 flags) {
  const SignalAction action{handler, flags | kRestorer, kStubBase + kHandlerOffset, ~u64{0}};
  ::syscall(SYS_rt_sigaction, signal, &action, nullptr, sizeof(action.mask));
}

void set_signals() {
  for (int signal = 1; signal <= kSignals; ++signal) set_action(signal, reinterpret_cast<u64>(SIG_IGN), 0);
  for (const int signal : kHandled) set_action(signal, kStubBase + kHandlerOffset, SA_SIGINFO | SA_ONSTACK);
  const stack_t stack{.ss_sp = reinterpret_cast<void*>(kStubBase + kSignalStackOffset),
                      .ss_flags = 0,
                      .ss_size = kSignalStackBytes};
  ::syscall(SYS_sigaltstack, &stack, nullptr);
  // The mapper inherits this: the monitor's kicks are not for it. The runner returns from its first signal, a
  // SIGSEGV, with none blocked.
  const u64 blocked = ~(u64{1} << (SIGSEGV - 1));
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, nullptr, sizeof(blocked));
}

// The kernel writes to the C library's area for restartable sequences, which will not be there.
void forget_rseq() {
  if (__rseq_size == 0) return;
  auto* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  constexpr u32 kSizes[] = {32, 64, 96, 128};
  for (const u32 size : kSizes) {
    if (::syscall(SYS_rseq, area, size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0) return;
  }
}

bool map_pages(int file) {
  const auto map = [file](u64 offset, u64 size, int protection) {
    void* wanted = reinterpret_cast<void*>(kStubBase + offset);
    return ::mmap(wanted, size, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, file,
                  static_cast<off_t>(offset)) == wanted;
  };
  return map(kCodeOffset, kPageSize, PROT_READ | PROT_EXEC) &&
         map(kCallsOffset, kStateOffset - kCallsOffset, PROT_READ) &&
         map(kStateOffset, kStubBytes - kStateOffset, PROT_READ | PROT_WRITE);
}

[[noreturn]] void give_up(StubState& state) {
  reinterpret_cast<volatile i64&>(state.listener) = -errno;
  for (;;) ::syscall(SYS_exit, 1);
}

}  // namespace

void become_stub(const StubSetup& setup) {
  StubState& state = *setup.state;
  ::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::syscall(SYS_getppid) != setup.parent) give_up(state);
  if (!map_pages(setup.shared_file)) give_up(state);
  forget_rseq();
  set_signals();
  // RDTSC faults: the guest's counter has another offset.
  if (::syscall(SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0) != 0) give_up(state);
  if (::syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) give_up(state);
  reinterpret_cast<void (*)()>(kStubBase + kCodeOffset)();
  __builtin_unreachable();
}

}  // namespace doppel::direct
