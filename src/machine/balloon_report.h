// BalloonReport: what is known about a guest's memory balloon and its memory.
#pragma once

#include <array>
#include <optional>

#include "base/types.h"

namespace doppel {

// `statistics` are the driver's, in the order of virtio 1.2 section 5.5.6.3.
struct BalloonReport {
  u64 target_bytes = 0;
  u64 actual_bytes = 0;
  bool is_fresh = false;  // the driver answered just now
  std::array<std::optional<u64>, 10> statistics;
};

}  // namespace doppel
