// Random: value distributions.
#include "tests/differential/random.h"

#include <algorithm>
#include <cstring>

namespace doppel::differential {
namespace {

// A floating-point bit pattern of `mantissa_bits` and `exponent_bits`, without sign.
u64 float_pattern(Random& random, unsigned mantissa_bits, unsigned exponent_bits) {
  const u64 max_exponent = (u64{1} << exponent_bits) - 1;
  const u64 bias = max_exponent >> 1;
  const u64 mantissa_mask = (u64{1} << mantissa_bits) - 1;
  const u64 quiet = u64{1} << (mantissa_bits - 1);
  u64 exponent = bias;
  u64 mantissa = random.next() & mantissa_mask;
  switch (random.below(16)) {
    case 0:
      return 0;
    case 1:
      return max_exponent << mantissa_bits;
    case 2:  // quiet NaN
      return max_exponent << mantissa_bits | quiet | mantissa;
    case 3:  // signaling NaN
      return max_exponent << mantissa_bits | (mantissa & ~quiet) | 1;
    case 4:  // denormal
      return mantissa >> random.below(mantissa_bits);
    case 5:  // next to the largest and the smallest normal
      exponent = random.percent(50) ? 1 + random.below(2) : max_exponent - 1 - random.below(2);
      break;
    case 6:  // any
      exponent = random.below(max_exponent);
      break;
    case 7:  // a power of two
      mantissa = 0;
      exponent = bias + random.below(bias) - bias / 2;
      break;
    case 8:
    case 9:  // a small integer or a half
      exponent = bias + random.below(8);
      mantissa &= ~(mantissa_mask >> std::min<u64>(mantissa_bits, exponent - bias + random.below(2)));
      break;
    case 10:  // around the limits of integer conversions
      exponent = std::min(bias + 6 + random.below(60), max_exponent - 1);
      break;
    default:
      exponent = bias - 2 + random.below(5);
      break;
  }
  return exponent << mantissa_bits | mantissa;
}

}  // namespace

u64 Random::integer() {
  const u64 noise = next();
  switch (below(8)) {
    case 0: {
      static constexpr u64 kExtremes[] = {0,
                                          1,
                                          2,
                                          0x7f,
                                          0x80,
                                          0xff,
                                          0x7fff,
                                          0x8000,
                                          0xffff,
                                          0x7fffffff,
                                          0x80000000,
                                          0xffffffff,
                                          ~u64{0} >> 1,
                                          u64{1} << 63,
                                          ~u64{0},
                                          ~u64{1},
                                          0x8080808080808080,
                                          0x7fff7fff7fff7fff};
      return pick(kExtremes);
    }
    case 1:
      return (u64{1} << (noise & 63)) - ((noise >> 8) & 1);
    case 2:
      return ~((u64{1} << (noise & 63)) - ((noise >> 8) & 1));
    case 3:
      return next() >> (noise & 63);
    case 4:
      return static_cast<u64>(static_cast<i64>(next()) >> (noise & 63));
    default:
      return noise;
  }
}

u32 Random::f32() {
  const u64 pattern = float_pattern(*this, 23, 8);
  return static_cast<u32>(pattern | (next() & 1) << 31);
}

u64 Random::f64() {
  const u64 pattern = float_pattern(*this, 52, 11);
  return pattern | next() << 63;
}

u16 Random::f16() {
  const u64 pattern = float_pattern(*this, 10, 5);
  return static_cast<u16>(pattern | (next() & 1) << 15);
}

void Random::x87(std::span<u8, 10> out) {
  const u64 pattern = float_pattern(*this, 52, 11);
  u64 mantissa = (pattern << 11) | (next() & 0x7ff & (u64{0} - (next() & 1)));
  u64 exponent = (pattern >> 52) & 0x7ff;
  if (exponent == 0x7ff) {
    exponent = 0x7fff;
  } else if (exponent != 0) {
    exponent = percent(8) ? below(0x7fff) : exponent - 1023 + 16383;
  }
  // The integer bit is explicit; a few unnormals, pseudo-denormals and pseudo-NaNs. SDM 1 8.2.2.
  const bool is_normal = exponent != 0;
  if (is_normal != percent(3))
    mantissa |= u64{1} << 63;
  else
    mantissa &= ~(u64{1} << 63);
  const auto top = static_cast<u16>(exponent | (next() & 1) << 15);
  std::memcpy(out.data(), &mantissa, 8);
  std::memcpy(out.data() + 8, &top, 2);
}

void Random::fill(std::span<u8> out, Style style) {
  std::size_t done = 0;
  auto put = [&](const void* data, std::size_t size) {
    std::memcpy(out.data() + done, data, std::min(size, out.size() - done));
    done += size;
  };
  const unsigned element = static_cast<unsigned>(below(4));
  while (done < out.size()) {
    u64 value = 0;
    std::size_t size = 8;
    switch (style) {
      case Style::kInteger:
        size = std::size_t{1} << element;
        value = integer();
        break;
      case Style::kF16:
        size = 2;
        value = f16();
        break;
      case Style::kF32:
        size = 4;
        value = f32();
        break;
      case Style::kF64:
        value = f64();
        break;
      case Style::kX87: {
        std::array<u8, 10> number = {};
        x87(number);
        put(number.data(), number.size());
        continue;
      }
      case Style::kBcd:
        size = 1;
        value = below(10) | below(10) << 4;
        break;
    }
    put(&value, size);
  }
}

u64 hash_seed(u64 seed, std::string_view text) {
  u64 hash = seed ^ 0xcbf29ce484222325;
  for (const char character : text) hash = (hash ^ static_cast<u8>(character)) * 0x100000001b3;
  return hash;
}

}  // namespace doppel::differential
