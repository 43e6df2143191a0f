// The AML of the machine: sleep state, legacy devices and processors.
#pragma once

#include <vector>

#include "base/types.h"

namespace doppel {

// The body of the DSDT, without the table header. `cpu_count` is 1..4096.
std::vector<u8> build_dsdt_aml(unsigned cpu_count);

}  // namespace doppel
