// SIMD floating-point arithmetic in more bits than any operand has, to know what rounding would lose.
#pragma once

#include "base/types.h"

namespace doppel::interp {

__extension__ using Quad = __float128;

constexpr unsigned kQuadFraction = 112;

// A destination format. Exponents are those of the leading bit.
struct Format {
  int precision;
  int least;     // exponent of the smallest normal number
  int greatest;  // exponent of the largest number
};
constexpr Format kHalf = {11, -14, 15};
constexpr Format kSingle = {24, -126, 127};
constexpr Format kDouble = {53, -1022, 1023};

// MXCSR. SDM 1 10.2.3.
constexpr u32 kDenormalsAreZero = 1u << 6;
constexpr u32 kOverflowMask = 1u << 10;
constexpr u32 kUnderflowMask = 1u << 11;
constexpr unsigned kRoundingShift = 13;
constexpr u32 kFlushToZero = 1u << 15;
enum Rounding : u8 { kNearest, kDown, kUp, kTruncate };

// A value and whether it was cut off: bits below the last of the fraction are then not all zero.
struct Exact {
  Quad value = 0;
  bool is_cut = false;
};

Exact exact_add(Quad a, Quad b);
Exact exact_divide(Quad a, Quad b);

// Exponent after rounding to `precision` bits with an unbounded exponent.
int rounded_exponent(const Exact& exact, int precision, Rounding rounding);
// Whether MXCSR.PE is set by a result of that format, with unmasked overflow and underflow as the processor
// has them.
bool is_result_inexact(const Exact& exact, const Format& format, u32 mxcsr);

inline Rounding rounding_of(u32 mxcsr) { return static_cast<Rounding>(mxcsr >> kRoundingShift & 3); }

}  // namespace doppel::interp
