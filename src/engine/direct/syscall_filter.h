// The seccomp filter of stub processes: what guest code may ask of the host's kernel, which is nothing.
#pragma once

#include "engine/direct/stub_layout.h"

namespace doppel::direct {

// Writes both threads' filters. A system call from anywhere but the stub's own code is a SIGSYS, whatever its
// number and architecture. There the thread that runs guest code may return from signals and unmap, and its
// stops wait for the monitor; guest code that jumps into the stub's gets no more than that. The mapper may
// map, unmap and wait.
void write_filters(StubFilters& filters);

}  // namespace doppel::direct
