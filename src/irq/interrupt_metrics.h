// What interrupt controllers count.
#pragma once

#include "base/metrics.h"

namespace doppel {

inline constexpr MetricKind kInterruptRequests{"interrupt_requests",
                                               "Interrupts that sources asked controllers for."};

}  // namespace doppel
