// A real-time signal with an empty handler.
#include "engine/kvm/kvm_signal.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace doppel::kvm {
namespace {

int kick_signal() { return SIGRTMIN + 1; }

}  // namespace

Result<void> install_kick_signal() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  // KVM_RUN is interrupted all the same; what devices do with files is not.
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  if (::sigaction(kick_signal(), &action, nullptr) != 0) {
    return fail("engine kvm: signal handler: {}", std::strerror(errno));
  }
  return {};
}

pid_t current_thread() { return static_cast<pid_t>(::syscall(SYS_gettid)); }

void send_kick_signal(pid_t thread) { ::syscall(SYS_tgkill, ::getpid(), thread, kick_signal()); }

}  // namespace doppel::kvm
