// Fixed-width integer names used throughout the project.
#pragma once

#include <cstddef>
#include <cstdint>

namespace doppel {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i8 = std::int8_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;
__extension__ using u128 = unsigned __int128;
__extension__ using i128 = __int128;

inline constexpr u64 kKiB = 1024;
inline constexpr u64 kMiB = 1024 * kKiB;
inline constexpr u64 kGiB = 1024 * kMiB;

// `value` rounded down / up to a multiple of `alignment`, which is a power of two.
constexpr u64 align_down(u64 value, u64 alignment) { return value & ~(alignment - 1); }
constexpr u64 align_up(u64 value, u64 alignment) { return align_down(value + alignment - 1, alignment); }

// Bits [low, low + count) of `value`; count is 1..63.
constexpr u64 bits(u64 value, unsigned low, unsigned count) {
  return (value >> low) & ((u64{1} << count) - 1);
}
constexpr bool bit(u64 value, unsigned index) { return ((value >> index) & 1) != 0; }

}  // namespace doppel
