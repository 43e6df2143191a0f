// What a new process does to become a stub.
#pragma once

#include <sys/types.h>

#include "engine/direct/stub_layout.h"

namespace doppel::direct {

struct StubSetup {
  int shared_file;   // of the stub's own pages
  pid_t parent;      // whose death is its own
  StubState* state;  // where errors go
};

// In the child of a clone() that shares its descriptors with the parent, so that the filter's listener is
// the parent's, too.
[[noreturn]] void become_stub(const StubSetup& setup);

}  // namespace doppel::direct
