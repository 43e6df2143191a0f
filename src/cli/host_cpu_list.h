// Lists of host CPUs as a person writes them.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"

namespace doppel {

// "0,2-5": 0, 2, 3, 4, 5. Numbers up to 1023; empty text is an empty list.
Result<std::vector<unsigned>> parse_host_cpus(std::string_view text);

}  // namespace doppel
