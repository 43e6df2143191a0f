// The seccomp filter of stub processes: what guest code may ask of the host's kernel, which is nothing.
#pragma once

#include <linux/filter.h>

#include <vector>

namespace doppel::direct {

// A system call from anywhere but the stub's own code is a SIGSYS, whatever its number and architecture. The
// stub's own code may return from signals and unmap; its stops and its mmap() wait for the monitor, who sees
// the arguments as the kernel has them; nothing else is allowed. Guest code that jumps into the stub's gets
// no more than that.
std::vector<sock_filter> syscall_filter();

}  // namespace doppel::direct
