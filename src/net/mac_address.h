// MacAddress: the address of a network card.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "base/types.h"

namespace doppel {

using MacAddress = std::array<u8, 6>;

// "52:54:00:12:34:56".
std::optional<MacAddress> parse_mac(std::string_view text);

}  // namespace doppel
