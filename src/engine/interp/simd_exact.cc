// 128-bit floating point: products of doubles are exact, sums and quotients are cut off with a note of it.
#include "engine/interp/simd_exact.h"

#include <cstring>

namespace doppel::interp {
namespace {

u128 bits_of(Quad value) {
  u128 bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}
Quad quad_of(u128 bits) {
  Quad value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// `rounded` is the nearest to a true value that differs from it by `error`'s sign: the true value cut off.
Exact cut(Quad rounded, Quad error) {
  if (error == 0) return {rounded, false};
  const bool is_too_far = (rounded > 0) != (error > 0);
  return {is_too_far ? quad_of(bits_of(rounded) - 1) : rounded, true};
}

}  // namespace

Exact exact_add(Quad a, Quad b) {
  const Quad sum = a + b;
  const Quad b_part = sum - a;
  const Quad error = (a - (sum - b_part)) + (b - b_part);
  return cut(sum, error);
}

Exact exact_divide(Quad a, Quad b) {
  const Quad quotient = a / b;
  // The quotient of two doubles either ends within 53 bits or never does; 60 bits times 53 are exact.
  const Quad head = quad_of(bits_of(quotient) & ~((u128{1} << (kQuadFraction - 59)) - 1));
  if (head * b == a) return {head, false};
  return {head, true};
}

namespace {

int exponent_of(Quad value) { return static_cast<int>(bits_of(value) >> kQuadFraction & 0x7fff) - 0x3fff; }

bool fits(const Exact& exact, int precision) {
  if (exact.is_cut) return false;
  if (exact.value == 0) return true;
  if (precision <= 0) return false;
  const u128 fraction = bits_of(exact.value) & ((u128{1} << kQuadFraction) - 1);
  return (fraction & ((u128{1} << (kQuadFraction + 1 - precision)) - 1)) == 0;
}

}  // namespace

int rounded_exponent(const Exact& exact, int precision, Rounding rounding) {
  const u128 bits = bits_of(exact.value);
  const bool is_negative = bits >> 127 != 0;
  const u128 unit = u128{1} << (kQuadFraction + 1 - precision);
  const u128 fraction = bits & ((u128{1} << kQuadFraction) - 1);
  const u128 rest = fraction & (unit - 1);
  const bool is_all_ones = fraction - rest == (u128{1} << kQuadFraction) - unit;
  const bool is_inexact = rest != 0 || exact.is_cut;
  bool goes_up = false;
  if (rounding == kNearest) goes_up = rest >= unit / 2;  // all ones is odd, so a tie goes up
  if (rounding == kUp) goes_up = is_inexact && !is_negative;
  if (rounding == kDown) goes_up = is_inexact && is_negative;
  return exponent_of(exact.value) + (is_all_ones && goes_up ? 1 : 0);
}

bool is_result_inexact(const Exact& exact, const Format& format, u32 mxcsr) {
  if (exact.value == 0) return exact.is_cut;
  const bool is_inexact = !fits(exact, format.precision);
  const int exponent = rounded_exponent(exact, format.precision, rounding_of(mxcsr));
  if (exponent > format.greatest) return (mxcsr & kOverflowMask) != 0 || is_inexact;
  if (exponent >= format.least || (mxcsr & kUnderflowMask) == 0) return is_inexact;
  if ((mxcsr & kFlushToZero) != 0) return true;
  return !fits(exact, format.precision - (format.least - exponent_of(exact.value)));
}

}  // namespace doppel::interp
