// The signal that takes a thread out of KVM_RUN.
#pragma once

#include <sys/types.h>

#include "base/result.h"

namespace doppel::kvm {

// Gives the signal a handler that does nothing. Process-wide; may be called again.
Result<void> install_kick_signal();
// The calling thread's number, for send_kick_signal().
pid_t current_thread();
// Interrupts that thread's KVM_RUN; other system calls of the thread go on. Nothing happens when it has
// ended.
void send_kick_signal(pid_t thread);

}  // namespace doppel::kvm
