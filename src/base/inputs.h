// Inputs: the one door through which time and entropy enter a machine.
#pragma once

#include <chrono>
#include <span>

#include "base/types.h"

namespace doppel {

// Machine time since the machine started, in nanoseconds. Never the host's time of day.
using Nanoseconds = std::chrono::nanoseconds;

// Everything nondeterministic that a machine can observe. Devices and engines ask here and nowhere else, so
// that a machine can be replayed by replaying what its Inputs answered. Called from the machine's threads;
// implementations are thread-safe.
class Inputs {
 public:
  virtual ~Inputs() = default;

  // Monotonic machine time; starts at 0 when the machine is created.
  virtual Nanoseconds now() = 0;

  // Wall-clock seconds since 1970-01-01 UTC at machine time 0 (for the RTC and the paravirtual wall clock).
  virtual u64 boot_wall_clock_seconds() = 0;

  // Value and constant rate of the machine's time stamp counter, before the guest's own offset.
  virtual u64 tsc() = 0;
  virtual u64 tsc_hz() const = 0;

  // Fills `out` with entropy.
  virtual void entropy(std::span<u8> out) = 0;
};

}  // namespace doppel
