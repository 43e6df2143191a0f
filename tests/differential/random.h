// Random: a small deterministic generator and the value distributions that make arithmetic interesting.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "base/types.h"

namespace doppel::differential {

// How bytes are to be filled: which kind of number the instruction will see.
enum class Style : u8 { kInteger, kF16, kF32, kF64, kX87, kBcd };

// xorshift-multiply generator. Copyable; equal seeds give equal sequences on every host.
class Random {
 public:
  explicit Random(u64 seed) : state_(seed * 0x9e3779b97f4a7c15 + 0x632be59bd9b4e019) {
    next();
    next();
  }

  u64 next() {
    state_ += 0x9e3779b97f4a7c15;
    u64 value = state_;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
  }
  // In [0, limit); limit > 0.
  u64 below(u64 limit) { return static_cast<u64>((static_cast<u128>(next()) * limit) >> 64); }
  bool percent(unsigned chance) { return below(100) < chance; }
  template <class T, std::size_t kCount>
  T pick(const T (&values)[kCount]) {
    return values[below(kCount)];
  }

  // Extremes, powers of two and their neighbours, numbers of random length, plain noise.
  u64 integer();
  // Bit patterns: zeros, infinities, NaNs of both kinds, denormals, small numbers, close exponents.
  u32 f32();
  u64 f64();
  u16 f16();
  void x87(std::span<u8, 10> out);

  void fill(std::span<u8> out, Style style);

 private:
  u64 state_;
};

// Mixes names and numbers into seeds.
u64 hash_seed(u64 seed, std::string_view text);

}  // namespace doppel::differential
