// The byte layout shared by StateSaver and StateLoader.
#pragma once

#include <array>

#include "base/types.h"

namespace doppel {

// A saved state is the header, then records in visiting order, all little-endian:
//   kBegin: kind u8, name length u8, name
//   kEnd:   kind u8
//   kBytes, kBlob: kind u8, name length u8, name, data length u32, data
// A RAM page costs about 30 bytes beside its 4096.
enum class StateRecord : u8 { kBegin = 1, kEnd = 2, kBytes = 3, kBlob = 4 };

inline constexpr std::array<u8, 8> kStateMagic = {'D', 'O', 'P', 'P', 'E', 'L', 'S', 'T'};
inline constexpr u32 kStateVersion = 1;
inline constexpr std::size_t kStateHeaderSize = kStateMagic.size() + sizeof(kStateVersion);
inline constexpr std::size_t kMaxStateName = 255;

}  // namespace doppel
