// Numbers and sizes as a person writes them on the command line.
#pragma once

#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace doppel {

// "512M", "1G", "4096K", "1048576": bytes.
Result<u64> parse_size(std::string_view text);
// "700000013"; `option` names it in the error.
Result<u64> parse_count(std::string_view option, std::string_view text);

}  // namespace doppel
