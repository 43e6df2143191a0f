// HaltPolling: how long a halted vCPU looks for work before it sleeps.
#pragma once

#include <algorithm>

#include "base/inputs.h"

namespace doppel {

// Waking a thread costs tens of microseconds, most of all where the host is a virtual machine itself, so
// halts that end soon are better spent looking. The time grows while halts are short and goes when they are
// long.
class HaltPolling {
 public:
  static constexpr Nanoseconds kFirst{20'000};
  static constexpr Nanoseconds kMost{300'000};

  // Zero: sleep at once.
  Nanoseconds window() const { return window_; }
  // A halt ended.
  void note_halt(Nanoseconds length) {
    if (length > kMost) {
      window_ = Nanoseconds{0};
    } else if (length > window_) {
      window_ = std::clamp(window_ * 2, kFirst, kMost);
    }
  }

 private:
  Nanoseconds window_{0};
};

}  // namespace doppel
