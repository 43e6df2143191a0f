// Backend: one way to execute a single user-level instruction; the host's processor or an engine.
#pragma once

#include <span>

#include "base/result.h"
#include "tests/differential/user_state.h"

namespace doppel::differential {

// Owned by a worker process; called on its only thread: place() once, then run() any number of times.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual void place(const Placement& placement) = 0;

  // Copies `memory` (kDataSize bytes) into the data window and runs the placed instruction from `in`.
  virtual void run(const UserState& in, std::span<const u8> memory, Outcome& out) = 0;

  // The data window after run().
  virtual std::span<const u8> window() const = 0;
};

}  // namespace doppel::differential
