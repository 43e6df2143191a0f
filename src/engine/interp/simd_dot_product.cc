// DPPS and DPPD step by step.
#include <Zydis/Mnemonic.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "engine/interp/simd_exact.h"
#include "engine/interp/simd_precision.h"

namespace doppel::interp {
namespace {

// MXCSR. SDM 1 10.2.3.
constexpr u32 kFlags = 0x3f;
constexpr u32 kMasks = 0x1f80;
constexpr unsigned kMaskShift = 7;
constexpr u32 kOverflow = 1u << 3;
constexpr u32 kUnderflow = 1u << 4;
constexpr u32 kPrecision = 1u << 5;
constexpr u32 kBeforeComputing = 0x7;

enum class Step : u8 { kMultiply, kAdd };

template <Step kStep, class T>
u32 run_on_host(u32 mxcsr, T a, T b, T& result) {
  u32 seen;
  u32 saved;
  if constexpr (kStep == Step::kMultiply && sizeof(T) == 4) {
    asm volatile("stmxcsr %[s]\n\tldmxcsr %[m]\n\tmulss %[b], %[a]\n\tstmxcsr %[f]\n\tldmxcsr %[s]"
                 : [a] "+x"(a), [f] "=m"(seen), [s] "=m"(saved)
                 : [b] "x"(b), [m] "m"(mxcsr));
  } else if constexpr (kStep == Step::kMultiply) {
    asm volatile("stmxcsr %[s]\n\tldmxcsr %[m]\n\tmulsd %[b], %[a]\n\tstmxcsr %[f]\n\tldmxcsr %[s]"
                 : [a] "+x"(a), [f] "=m"(seen), [s] "=m"(saved)
                 : [b] "x"(b), [m] "m"(mxcsr));
  } else if constexpr (sizeof(T) == 4) {
    asm volatile("stmxcsr %[s]\n\tldmxcsr %[m]\n\taddss %[b], %[a]\n\tstmxcsr %[f]\n\tldmxcsr %[s]"
                 : [a] "+x"(a), [f] "=m"(seen), [s] "=m"(saved)
                 : [b] "x"(b), [m] "m"(mxcsr));
  } else {
    asm volatile("stmxcsr %[s]\n\tldmxcsr %[m]\n\taddsd %[b], %[a]\n\tstmxcsr %[f]\n\tldmxcsr %[s]"
                 : [a] "+x"(a), [f] "=m"(seen), [s] "=m"(saved)
                 : [b] "x"(b), [m] "m"(mxcsr));
  }
  result = a;
  return seen & kFlags;
}

// One operation under the guest's MXCSR; its flags as with the guest's masks.
template <Step kStep, class T>
u32 run_lane(u32 mxcsr, T a, T b, T& result) {
  const u32 enabled = ~(mxcsr >> kMaskShift) & kFlags;
  u32 masked = (mxcsr & ~kFlags) | kMasks;
  // Ignored while underflow is unmasked; it tells tiny results from others. SDM 1 10.2.3.3.
  u32 tiny = 0;
  if ((enabled & kUnderflow) != 0) {
    T unused;
    tiny = run_on_host<kStep, T>(masked | kFlushToZero, a, b, unused) & kUnderflow;
    masked &= ~kFlushToZero;
  }
  u32 raised = run_on_host<kStep, T>(masked, a, b, result) | tiny;
  if ((raised & enabled & (kOverflow | kUnderflow)) == 0) return raised;
  // No denormals are left to become zero: with those treated so nothing overflows or gets tiny but by the
  // others.
  const bool removes = (mxcsr & kDenormalsAreZero) != 0;
  const auto clean = [&](T value) {
    return removes && std::fpclassify(value) == FP_SUBNORMAL ? T{0} : value;
  };
  const Quad x = clean(a);
  const Quad y = clean(b);
  const Exact exact = kStep == Step::kMultiply ? Exact{x * y, false} : exact_add(x, y);
  const bool is_inexact = is_result_inexact(exact, sizeof(T) == 4 ? kSingle : kDouble, mxcsr);
  return is_inexact ? raised | kPrecision : raised & ~kPrecision;
}

// Adds a step's flags to those of the steps before; true when the step faults.
bool is_faulting(u32 mxcsr, u32 step, u32& all) {
  const u32 faulting = step & ~(mxcsr >> kMaskShift) & kFlags;
  all |= (faulting & kBeforeComputing) != 0 ? step & kBeforeComputing : step;
  return faulting != 0;
}

template <class T>
std::optional<u32> run_steps(u32 mxcsr, const u8* a, const u8* b, unsigned bytes, unsigned selection) {
  constexpr unsigned kLanes = 16 / sizeof(T);
  std::array<T, 8> values = {};
  u32 all = 0;
  u32 step = 0;
  const unsigned count = bytes / sizeof(T);
  for (unsigned i = 0; i < count; ++i) {
    if ((selection >> (4 + i % kLanes) & 1) == 0) continue;
    T x;
    T y;
    std::memcpy(&x, a + i * sizeof(T), sizeof(T));
    std::memcpy(&y, b + i * sizeof(T), sizeof(T));
    step |= run_lane<Step::kMultiply, T>(mxcsr, x, y, values[i]);
  }
  if (is_faulting(mxcsr, step, all)) return all;
  // Neighbours first, in each half of a 256-bit register.
  for (unsigned distance = 1; distance < kLanes; distance *= 2) {
    step = 0;
    for (unsigned i = 0; i < count; i += 2 * distance) {
      step |= run_lane<Step::kAdd, T>(mxcsr, values[i], values[i + distance], values[i]);
    }
    if (is_faulting(mxcsr, step, all)) return all;
  }
  return std::nullopt;
}

}  // namespace

std::optional<u32> dot_product_exceptions(const CpuState& state, const Insn& insn, const void* memory) {
  const bool has_third = insn.operands[2].kind != OperandKind::kImmediate;
  const Operand& first = insn.operands[has_third ? 1 : 0];
  const Operand& second = insn.operands[has_third ? 2 : 1];
  const auto* a = reinterpret_cast<const u8*>(&state.ymm[first.reg]);
  const auto* b = second.kind == OperandKind::kMemory ? static_cast<const u8*>(memory)
                                                      : reinterpret_cast<const u8*>(&state.ymm[second.reg]);
  const unsigned bytes = insn.vector_length == 32 ? 32 : 16;
  const auto selection = static_cast<unsigned>(insn.immediate & 0xff);
  const bool is_single = insn.mnemonic == ZYDIS_MNEMONIC_DPPS || insn.mnemonic == ZYDIS_MNEMONIC_VDPPS;
  return is_single ? run_steps<float>(state.fx.mxcsr, a, b, bytes, selection)
                   : run_steps<double>(state.fx.mxcsr, a, b, bytes, selection);
}

}  // namespace doppel::interp
