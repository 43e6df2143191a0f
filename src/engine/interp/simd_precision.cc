// Lane by lane in 128-bit floating point, where products of doubles are exact.
#include "engine/interp/simd_precision.h"

#include <Zydis/Mnemonic.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>

#include "engine/interp/host_processor.h"
#include "engine/interp/simd_exact.h"

namespace doppel::interp {
namespace {

enum class Kind : u8 {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kAddSub,
  kHorizontalAdd,
  kHorizontalSub,
  kFused,
  kNarrow,
  kHalf
};

struct Operation {
  Kind kind;
  bool is_double;  // sources
  bool is_scalar;
  // Fused operations: order of the operands, and which results change sign. SDM 2C VFMADD132PD.
  unsigned multiplicand = 0;
  unsigned multiplier = 0;
  unsigned addend = 0;
  bool subtracts_even = false;
  bool subtracts_odd = false;
  bool negates = false;
};

bool take(std::string_view& name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  return true;
}

bool parse_fused(std::string_view& name, Operation& operation) {
  operation.kind = Kind::kFused;
  if (take(name, "fmaddsub"))
    operation.subtracts_even = true;
  else if (take(name, "fmsubadd"))
    operation.subtracts_odd = true;
  else if (take(name, "fmsub"))
    operation.subtracts_even = operation.subtracts_odd = true;
  else if (take(name, "fnmadd"))
    operation.negates = true;
  else if (take(name, "fnmsub"))
    operation.negates = operation.subtracts_even = operation.subtracts_odd = true;
  else if (!take(name, "fmadd"))
    return false;
  if (name.size() < 3) return false;
  operation.multiplicand = static_cast<unsigned>(name[0] - '1');
  operation.multiplier = static_cast<unsigned>(name[1] - '1');
  operation.addend = static_cast<unsigned>(name[2] - '1');
  // The digits say multiplicand, multiplier, addend: 132 multiplies the first by the third and adds the
  // second.
  name.remove_prefix(3);
  return true;
}

std::optional<Operation> parse(std::string_view name) {
  take(name, "v");
  Operation operation = {};
  if (name == "cvtsd2ss") return Operation{.kind = Kind::kNarrow, .is_double = true, .is_scalar = true};
  if (name == "cvtpd2ps") return Operation{.kind = Kind::kNarrow, .is_double = true, .is_scalar = false};
  if (take(name, "addsub"))
    operation.kind = Kind::kAddSub;
  else if (take(name, "add"))
    operation.kind = Kind::kAdd;
  else if (take(name, "sub"))
    operation.kind = Kind::kSub;
  else if (take(name, "mul"))
    operation.kind = Kind::kMul;
  else if (take(name, "div"))
    operation.kind = Kind::kDiv;
  else if (take(name, "hadd"))
    operation.kind = Kind::kHorizontalAdd;
  else if (take(name, "hsub"))
    operation.kind = Kind::kHorizontalSub;
  else if (!parse_fused(name, operation))
    return std::nullopt;
  if (name.size() != 2) return std::nullopt;
  operation.is_scalar = name[0] == 's';
  operation.is_double = name[1] == 'd';
  return operation;
}

// The values of one operand's lanes.
class Lanes {
 public:
  Lanes(const CpuState& state, const Insn& insn, unsigned index, const void* memory, bool is_double)
      : is_double_(is_double), removes_denormals_((state.fx.mxcsr & kDenormalsAreZero) != 0) {
    const Operand& operand = insn.operands[index];
    if (operand.kind == OperandKind::kMemory)
      std::memcpy(bytes_.data(), memory, std::min<unsigned>(operand.size, 32));
    else
      std::memcpy(bytes_.data(), &state.ymm[operand.reg], 32);
  }

  // Zero for what makes no rounding: infinities and NaNs are told by is_finite().
  double get(unsigned lane) const {
    if (is_double_) return clean(load<double>(lane));
    return static_cast<double>(clean(load<float>(lane)));
  }

 private:
  template <class T>
  T load(unsigned lane) const {
    T value;
    std::memcpy(&value, bytes_.data() + lane * sizeof(T), sizeof(T));
    return value;
  }
  template <class T>
  T clean(T value) const {
    return removes_denormals_ && std::fpclassify(value) == FP_SUBNORMAL ? T{0} : value;
  }

  std::array<u8, 32> bytes_ = {};
  bool is_double_;
  bool removes_denormals_;
};

// Two values or three of one lane; results that need no rounding are absent.
std::optional<Exact> compute(const Operation& operation, unsigned lane, double a, double b, double c) {
  if (!std::isfinite(a) || !std::isfinite(b) || !std::isfinite(c)) return std::nullopt;
  const bool is_odd = (lane & 1) != 0;
  switch (operation.kind) {
    case Kind::kAdd:
    case Kind::kHorizontalAdd:
      return exact_add(a, b);
    case Kind::kSub:
    case Kind::kHorizontalSub:
      return exact_add(a, -Quad{b});
    case Kind::kAddSub:
      return exact_add(a, is_odd ? Quad{b} : -Quad{b});
    case Kind::kMul:
      return Exact{Quad{a} * b, false};
    case Kind::kDiv:
      if (b == 0) return std::nullopt;
      return exact_divide(a, b);
    case Kind::kFused: {
      const Quad product = operation.negates ? -(Quad{a} * b) : Quad{a} * b;
      const bool subtracts = is_odd ? operation.subtracts_odd : operation.subtracts_even;
      return exact_add(product, subtracts ? -Quad{c} : Quad{c});
    }
    default:
      return Exact{a, false};
  }
}

}  // namespace

bool is_simd_result_inexact(const CpuState& state, const Insn& insn, const void* memory) {
  const auto operation = parse(ZydisMnemonicGetString(static_cast<ZydisMnemonic>(insn.mnemonic)));
  if (!operation) return true;
  unsigned count = 0;
  while (count < 3 && insn.operands[count].kind != OperandKind::kNone &&
         insn.operands[count].kind != OperandKind::kImmediate) {
    ++count;
  }
  const bool is_double = operation->is_double;
  const bool is_conversion = operation->kind == Kind::kNarrow;
  const bool is_fused = operation->kind == Kind::kFused;
  // Legacy forms use the destination as first source; conversions have one source, the last operand.
  const unsigned last = count - 1;
  const unsigned first = is_conversion ? last : (is_fused ? operation->multiplicand : count - 2);
  const Lanes a(state, insn, first, memory, is_double);
  const Lanes b(state, insn, is_fused ? operation->multiplier : last, memory, is_double);
  const Lanes c(state, insn, is_fused ? operation->addend : last, memory, is_double);
  const unsigned width = is_double ? 8 : 4;
  const unsigned bytes = insn.vector_length == 32 ? 32 : 16;
  const unsigned lanes = operation->is_scalar ? 1 : bytes / width;
  const bool is_horizontal =
      operation->kind == Kind::kHorizontalAdd || operation->kind == Kind::kHorizontalSub;
  const Format format = is_double && !is_conversion ? kDouble : kSingle;
  for (unsigned lane = 0; lane < lanes; ++lane) {
    std::optional<Exact> exact;
    if (is_horizontal) {
      const Lanes& source = (lane & 1) == 0 ? a : b;
      exact = compute(*operation, lane, source.get(lane & ~1u), source.get(lane | 1), 0);
    } else {
      exact = compute(*operation, lane, a.get(lane), b.get(lane), is_fused ? c.get(lane) : 0);
    }
    if (exact && is_result_inexact(*exact, format, state.fx.mxcsr)) return true;
  }
  return false;
}

namespace {

// Calls `f` for each source element that is a number to be rounded, until it returns true.
template <class F>
bool any_half_lane(const CpuState& state, const Insn& insn, F f) {
  const Lanes source(state, insn, 1, nullptr, false);
  const unsigned lanes = insn.vector_length == 32 ? 8 : 4;
  for (unsigned lane = 0; lane < lanes; ++lane) {
    const double value = source.get(lane);
    if (std::isfinite(value) && value != 0 && f(Exact{value, false})) return true;
  }
  return false;
}

// Bit 2 of the immediate leaves the rounding to MXCSR. SDM 2C "VCVTPS2PH".
u32 half_rounding_mxcsr(const CpuState& state, const Insn& insn) {
  if ((insn.immediate & 4) != 0) return state.fx.mxcsr;
  return (state.fx.mxcsr & ~(3u << kRoundingShift)) | static_cast<u32>(insn.immediate & 3) << kRoundingShift;
}

}  // namespace

bool is_half_result_tiny(const CpuState& state, const Insn& insn) {
  const Rounding rounding = rounding_of(half_rounding_mxcsr(state, insn));
  return any_half_lane(state, insn, [&](const Exact& exact) {
    return rounded_exponent(exact, kHalf.precision, rounding) < kHalf.least;
  });
}

bool is_half_result_inexact(const CpuState& state, const Insn& insn) {
  // Results are never flushed to zero. SDM 2C "VCVTPS2PH".
  const u32 mxcsr = half_rounding_mxcsr(state, insn) & ~kFlushToZero;
  return any_half_lane(state, insn, [&](const Exact& exact) {
    // An unmasked underflow of a denormal source counts as inexact always on Intel's processors; on AMD's it
    // is as any other. The conversion runs as itself, so what holds is what the host does.
    const bool is_denormal = std::abs(static_cast<double>(exact.value)) < 0x1p-126;
    return (is_denormal && !host_is_amd()) || is_result_inexact(exact, kHalf, mxcsr);
  });
}

}  // namespace doppel::interp
