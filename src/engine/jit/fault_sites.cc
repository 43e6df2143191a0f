// The host's signals for faults of guest instructions.
#include "engine/jit/fault_sites.h"

#include <ucontext.h>
#include <csignal>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/verify.h"

namespace doppel::jit {
namespace {

std::atomic<const FaultSites*> owners[FaultSites::kMaxOwners];
struct sigaction previous_fpe;
struct sigaction previous_segv;

// Looks at nothing of the thread's before it is sure that translated code faulted: code of others may run
// with a thread pointer of its own.
void handle(int signal, siginfo_t* info, void* context) {
  auto& rip = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
  for (const std::atomic<const FaultSites*>& owner : owners) {
    const FaultSites* sites = owner.load(std::memory_order_acquire);
    const u8* exit = sites != nullptr ? sites->exit_of(reinterpret_cast<const u8*>(rip)) : nullptr;
    if (exit == nullptr) continue;
    rip = static_cast<greg_t>(reinterpret_cast<u64>(exit));
    return;
  }
  // Not ours: as if this handler were not there; otherwise the instruction faults again.
  const struct sigaction& previous = signal == SIGFPE ? previous_fpe : previous_segv;
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction != nullptr) {
    previous.sa_sigaction(signal, info, context);
    return;
  }
  ::sigaction(signal, &previous, nullptr);
}

void install_handlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = &handle;
    // Translated code has a stack of its own; others' handlers may rely on an alternate one.
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGFPE, &action, &previous_fpe);
    ::sigaction(SIGSEGV, &action, &previous_segv);
  });
}

}  // namespace

FaultSites::FaultSites(const u8* code, u32 size) : code_(code), size_(size) {
  install_handlers();
  for (std::atomic<const FaultSites*>& owner : owners) {
    const FaultSites* nobody = nullptr;
    if (owner.compare_exchange_strong(nobody, this)) return;
  }
  VERIFY(false);
}

FaultSites::~FaultSites() {
  for (std::atomic<const FaultSites*>& owner : owners) {
    const FaultSites* self = this;
    owner.compare_exchange_strong(self, nullptr);
  }
}

const u8* FaultSites::exit_of(const u8* instruction) const {
  if (instruction < code_ || instruction >= code_ + size_) return nullptr;
  const auto position = static_cast<u32>(instruction - code_);
  const auto found = std::ranges::lower_bound(sites_, position, {}, &Site::position);
  if (found == sites_.end() || found->position != position) return nullptr;
  return code_ + found->exit;
}

}  // namespace doppel::jit
