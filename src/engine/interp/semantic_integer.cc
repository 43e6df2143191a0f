// Integer instructions without a specialised handler: multiply, divide, exchange, convert, decimal. SDM
// 2A-2D.
#include <cstring>

#include "engine/interp/guest_atomic.h"
#include "engine/interp/locked.h"
#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

u64& accumulator(Interpreter& s) { return s.state.gpr[x86::kRax]; }
u64& high_half(Interpreter& s) { return s.state.gpr[x86::kRdx]; }

// The host's own one-operand MUL, IMUL, DIV or IDIV, with the guest's flags before and the host's after it:
// which of those it leaves undefined it changes, and how, is the processor's choice. RAX is wanted by the
// operation, by SAHF and by LAHF.
#define ON_ACCUMULATOR(name, modifier)                                        \
  asm("addb $0x7f, %%al\n\tsahf\n\tmovq %[low], %%rax\n\t" name " %" modifier \
      "[b]\n\t"                                                               \
      "movq %%rax, %[low]\n\tlahf\n\tseto %%al"                               \
      : [low] "+&r"(low), "+&a"(captured), "+&d"(high)                        \
      : [b] "r"(source)                                                       \
      : "cc")

#define ON_ACCUMULATOR_OF_SIZE(name) \
  switch (size) {                    \
    case 1:                          \
      ON_ACCUMULATOR(name "b", "b"); \
      break;                         \
    case 2:                          \
      ON_ACCUMULATOR(name "w", "w"); \
      break;                         \
    case 4:                          \
      ON_ACCUMULATOR(name "l", "k"); \
      break;                         \
    default:                         \
      ON_ACCUMULATOR(name "q", "q"); \
      break;                         \
  }

enum class Accumulate : u8 { kMul, kImul, kDiv, kIdiv };

template <Accumulate kOperation>
void on_accumulator(Interpreter& s, unsigned size, u64 source) {
  u64 captured = pack_flags(s.state.rflags);
  u64 low = accumulator(s);
  u64 high = high_half(s);
  if constexpr (kOperation == Accumulate::kMul) ON_ACCUMULATOR_OF_SIZE("mul");
  if constexpr (kOperation == Accumulate::kImul) ON_ACCUMULATOR_OF_SIZE("imul");
  if constexpr (kOperation == Accumulate::kDiv) ON_ACCUMULATOR_OF_SIZE("div");
  if constexpr (kOperation == Accumulate::kIdiv) ON_ACCUMULATOR_OF_SIZE("idiv");
  accumulator(s) = low;
  high_half(s) = high;
  set_arithmetic_flags(s, unpack_flags(captured));
}
#undef ON_ACCUMULATOR_OF_SIZE
#undef ON_ACCUMULATOR

template <Accumulate kOperation>
Flow multiply(Interpreter& s, const Op& op, const Insn& insn) {
  u64 source;
  if (!read_operand(s, op, insn, 0, source)) return Flow::kFault;
  on_accumulator<kOperation>(s, insn.operands[0].size, source);
  return Flow::kNext;
}

// `dividend` is twice as wide as `divisor`.
bool fits_unsigned(u128 dividend, u64 divisor, unsigned size) {
  return static_cast<u64>(dividend >> (8 * size)) < divisor;
}

// Both are extended from their sizes. A quotient of `size` bytes has one more negative value than positive.
bool fits_signed(u128 dividend, i64 divisor, unsigned size) {
  const bool is_negative = dividend >> 127 != 0;
  const bool is_opposite = is_negative != (divisor < 0);
  const u128 magnitude = is_negative ? -dividend : dividend;
  const u64 divisor_magnitude = divisor < 0 ? -static_cast<u64>(divisor) : static_cast<u64>(divisor);
  const u64 limit = (u64{1} << (8 * size - 1)) + (is_opposite ? 1 : 0);
  return magnitude < u128{limit} * divisor_magnitude;
}

// AX for bytes, DX:AX, EDX:EAX or RDX:RAX.
u128 dividend_of(Interpreter& s, unsigned size) {
  const u64 mask = size_mask(size);
  const u64 high = size == 1 ? accumulator(s) >> 8 : high_half(s);
  return u128{high & mask} << (8 * size) | (accumulator(s) & mask);
}

u128 sign_extend_dividend(u128 dividend, unsigned size) {
  const unsigned unused = 128 - 16 * size;
  return static_cast<u128>(static_cast<i128>(dividend << unused) >> unused);
}

// DIV and IDIV: #DE for zero and for quotients that do not fit.
template <bool kSigned>
Flow divide(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = insn.operands[0].size;
  u64 divisor;
  if (!read_operand(s, op, insn, 0, divisor)) return Flow::kFault;
  const u128 dividend = dividend_of(s, size);
  const bool fits = kSigned
                        ? fits_signed(sign_extend_dividend(dividend, size), sign_extend(divisor, size), size)
                        : fits_unsigned(dividend, divisor, size);
  if (!fits) return s.raise(x86::kVectorDe), Flow::kFault;
  on_accumulator<kSigned ? Accumulate::kIdiv : Accumulate::kDiv>(s, size, divisor);
  return Flow::kNext;
}

Flow sign_extend_accumulator(Interpreter& s, const Op&, const Insn& insn) {
  // CBW, CWDE, CDQE: by the size of the result.
  const unsigned to =
      insn.mnemonic == ZYDIS_MNEMONIC_CBW ? 2 : (insn.mnemonic == ZYDIS_MNEMONIC_CWDE ? 4 : 8);
  write_gpr(s, 0, to, static_cast<u64>(sign_extend(accumulator(s), to / 2)));
  return Flow::kNext;
}

Flow sign_into_high_half(Interpreter& s, const Op&, const Insn& insn) {
  const unsigned size =
      insn.mnemonic == ZYDIS_MNEMONIC_CWD ? 2 : (insn.mnemonic == ZYDIS_MNEMONIC_CDQ ? 4 : 8);
  write_gpr(s, x86::kRdx * 8, size, static_cast<u64>(sign_extend(accumulator(s), size) >> 63));
  return Flow::kNext;
}

Flow bswap(Interpreter& s, const Op&, const Insn& insn) {
  const Operand& operand = insn.operands[0];
  const u64 value = read_gpr(s, operand.reg, operand.size);
  // A 16-bit BSWAP is undefined; processors write zero.
  const u64 swapped = operand.size == 8
                          ? __builtin_bswap64(value)
                          : (operand.size == 4 ? __builtin_bswap32(static_cast<u32>(value)) : 0);
  write_gpr(s, operand.reg, operand.size, swapped);
  return Flow::kNext;
}

// MOVSXD with a 16-bit operand size, from memory: Intel's processors read 16 bits (SDM 2B "MOVSX/MOVSXD"),
// AMD's all 32.
Flow movsxd_to_word(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = s.cpuid.is_amd() ? 4 : 2;
  u64 va;
  u64 value = 0;
  if (!memory_address(s, op, size, false, va) || !s.read_linear(va, &value, size, s.access_mode))
    return Flow::kFault;
  write_gpr(s, insn.operands[0].reg, 2, value);
  return Flow::kNext;
}

Flow movbe(Interpreter& s, const Op& op, const Insn& insn) {
  u64 value;
  if (!read_operand(s, op, insn, 1, value)) return Flow::kFault;
  const unsigned size = insn.operands[0].size;
  return fault_of(write_operand(s, op, insn, 0, __builtin_bswap64(value) >> (64 - 8 * size)));
}

template <class T>
bool swap_if_equal(u8* host, u64& expected, u64 desired) {
  T old = static_cast<T>(expected);
  const bool is_done = locked_compare_exchange<T>(host, old, static_cast<T>(desired));
  expected = old;
  return is_done;
}

// Calls `f` with a value of the unsigned type of `size` bytes.
template <class F>
INTERP_INLINE auto with_width(unsigned size, F f) {
  switch (size) {
    case 1:
      return f(u8{});
    case 2:
      return f(u16{});
    case 4:
      return f(u32{});
    default:
      return f(u64{});
  }
}

// Replaces the memory operand by `f` of it as one step. `fast` does the same with the host's own instruction
// on the operand's memory; both give what was there before.
template <class Fast, class F>
bool replace(Interpreter& s, const Op& op, unsigned size, u64& old, Fast fast, F f) {
  u64 va;
  if (!memory_address(s, op, size, true, va)) return false;
  return with_width(size, [&]<class T>(T) -> bool {
    if (u8* host = update_pointer(&s, va, size)) {
      old = fast.template operator()<T>(host);
      return true;
    }
    T before;
    const bool is_good =
        update_locked<T>(s, va, before, [&](T value) { return static_cast<T>(f(u64{value})); });
    old = before;
    return is_good;
  });
}

// Locked with or without the prefix. SDM 2C "XCHG".
Flow xchg(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned memory_index = insn.operands[0].kind == OperandKind::kMemory ? 0 : 1;
  const Operand& reg = insn.operands[1 - memory_index];
  const u64 desired = read_gpr(s, reg.reg, reg.size);
  u64 old = 0;
  const bool is_good = replace(
      s, op, reg.size, old,
      [&]<class T>(u8* host) { return locked_exchange<T>(host, static_cast<T>(desired)); },
      [&](u64) { return desired; });
  if (!is_good) return Flow::kFault;
  write_gpr(s, reg.reg, reg.size, old);
  return Flow::kNext;
}

template <Alu kOperation>
u64 sized_alu(Interpreter& s, unsigned size, u64 a, u64 b) {
  u64 flags = 0;
  const u64 result = with_width(size, [&]<class T>(T) -> u64 {
    return alu<kOperation, T>(static_cast<T>(a), static_cast<T>(b), flags);
  });
  set_arithmetic_flags(s, unpack_flags(flags));
  return result;
}

Flow xadd(Interpreter& s, const Op& op, const Insn& insn) {
  const Operand& source = insn.operands[1];
  const unsigned size = source.size;
  const u64 addend = read_gpr(s, source.reg, size);
  if (insn.operands[0].kind == OperandKind::kGpr) {
    const u64 old = read_gpr(s, insn.operands[0].reg, size);
    const u64 sum = sized_alu<Alu::kAdd>(s, size, old, addend);
    write_gpr(s, source.reg, size, old);
    write_gpr(s, insn.operands[0].reg, size, sum);
    return Flow::kNext;
  }
  u64 old = 0;
  const bool is_good = replace(
      s, op, size, old, [&]<class T>(u8* host) { return locked_add<T>(host, static_cast<T>(addend)); },
      [&](u64 value) { return value + addend; });
  if (!is_good) return Flow::kFault;
  sized_alu<Alu::kAdd>(s, size, old, addend);
  write_gpr(s, source.reg, size, old);
  return Flow::kNext;
}

Flow cmpxchg(Interpreter& s, const Op& op, const Insn& insn) {
  const Operand& source = insn.operands[1];
  const unsigned size = source.size;
  const u64 desired = read_gpr(s, source.reg, size);
  const u64 expected = read_gpr(s, x86::kRax * 8, size);
  u64 old;
  if (insn.operands[0].kind == OperandKind::kGpr) {
    old = read_gpr(s, insn.operands[0].reg, size);
    sized_alu<Alu::kCmp>(s, size, expected, old);
    if (old == expected)
      write_gpr(s, insn.operands[0].reg, size, desired);
    else
      write_gpr(s, x86::kRax * 8, size, old);
    return Flow::kNext;
  }
  // A failed comparison writes the old value back. SDM 2A "CMPXCHG".
  const bool is_good = replace(
      s, op, size, old,
      [&]<class T>(u8* host) {
        u64 found = expected;
        swap_if_equal<T>(host, found, desired);
        return found;
      },
      [&](u64 value) { return value == expected ? desired : value; });
  if (!is_good) return Flow::kFault;
  sized_alu<Alu::kCmp>(s, size, expected, old);
  if (old != expected) write_gpr(s, x86::kRax * 8, size, old);
  return Flow::kNext;
}

// The two halves of CMPXCHG8B's or CMPXCHG16B's operand.
struct Pair {
  u64 low;
  u64 high;
  bool operator==(const Pair&) const = default;
};

bool swap_pair_if_equal(u8* host, unsigned half, Pair& expected, const Pair& desired) {
  bool is_equal;
  if (half == 8) {
    asm volatile("lock cmpxchg16b %[m]"
                 : [m] "+m"(*host), "+a"(expected.low), "+d"(expected.high), "=@ccz"(is_equal)
                 : "b"(desired.low), "c"(desired.high)
                 : "memory");
    return is_equal;
  }
  u64 packed = expected.low | expected.high << 32;
  is_equal = swap_if_equal<u64>(host, packed, desired.low | desired.high << 32);
  expected = {packed & size_mask(4), packed >> 32};
  return is_equal;
}

// On two pages, or a device. False after recording a fault.
bool swap_split_pair(Interpreter& s, u64 va, unsigned half, Pair& expected, const Pair& desired) {
  const std::lock_guard lock(s.memory.split_lock());
  u8 bytes[16] = {};
  if (!s.probe_write(va, 2 * half, s.access_mode) || !s.read_linear(va, bytes, 2 * half, s.access_mode)) {
    return false;
  }
  Pair old = {};
  std::memcpy(&old.low, bytes, half);
  std::memcpy(&old.high, bytes + half, half);
  const Pair& stored = old == expected ? desired : old;
  std::memcpy(bytes, &stored.low, half);
  std::memcpy(bytes + half, &stored.high, half);
  expected = old;
  return s.write_linear(va, bytes, 2 * half, s.access_mode);
}

// CMPXCHG8B and CMPXCHG16B.
Flow cmpxchg_pair(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned half = insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B ? 8 : 4;
  // Of an operand that is neither aligned nor canonical AMD's processors report the former, Intel's the
  // latter.
  const bool is_misaligned = half == 8 && !is_aligned(s, op, 16);
  u64 va;
  if (is_misaligned && s.cpuid.is_amd()) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  if (!memory_address(s, op, 2 * half, true, va)) return Flow::kFault;
  if (is_misaligned) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  auto& gpr = s.state.gpr;
  const u64 mask = size_mask(half);
  const Pair expected = {gpr[x86::kRax] & mask, gpr[x86::kRdx] & mask};
  const Pair desired = {gpr[x86::kRbx] & mask, gpr[x86::kRcx] & mask};
  Pair old = expected;
  if (u8* host = update_pointer(&s, va, 2 * half)) {
    swap_pair_if_equal(host, half, old, desired);
  } else {
    LockedOperand operand;
    if (!find_locked(s, va, 2 * half, operand)) return Flow::kFault;
    if (operand.host != nullptr) {
      swap_pair_if_equal(operand.host, half, old, desired);
      finish_locked(s, operand);
    } else if (!swap_split_pair(s, va, half, old, desired)) {
      return Flow::kFault;
    }
  }
  const bool is_equal = old == expected;
  set_flag(s, x86::kFlagZf, is_equal);
  if (!is_equal) {
    write_gpr(s, x86::kRax * 8, half, old.low);
    write_gpr(s, x86::kRdx * 8, half, old.high);
  }
  return Flow::kNext;
}

Flow xlat(Interpreter& s, const Op& op, const Insn&) {
  // DS:(E/R)BX + AL; the decoder gives base and segment, the index is AL alone.
  const u64 al = accumulator(s) & 0xff;
  u64 offset = s.state.gpr[x86::kRbx] + al;
  const u8 size = op.address_mode & kAddressSizeMask;
  if (size == kAddress16) offset &= 0xffff;
  if (size == kAddress32) offset &= 0xffffffff;
  u64 va;
  u8 value;
  if (!s.linear_address(op.segment, offset, 1, false, va) || !s.read_linear(va, &value, 1, s.access_mode)) {
    return Flow::kFault;
  }
  write_gpr(s, 0, 1, value);
  return Flow::kNext;
}

void set_szp(Interpreter& s, u8 value) {
  u64 flags = pack_flags(s.state.rflags);
  alu<Alu::kTest, u8>(value, value, flags);
  const u64 mask = x86::kFlagSf | x86::kFlagZf | x86::kFlagPf;
  s.state.rflags = (s.state.rflags & ~mask) | (unpack_flags(flags) & mask);
}

template <bool kSubtract>
bool overflows(u8 a, u8 b) {
  u64 flags = 0;
  alu<kSubtract ? Alu::kSub : Alu::kAdd, u8>(a, b, flags);
  return (flags & kPackedOf) != 0;
}

// DAA and DAS. SDM 2A.
template <bool kSubtract>
Flow decimal_adjust(Interpreter& s, const Op&, const Insn&) {
  const u8 old_al = static_cast<u8>(accumulator(s));
  const bool old_cf = (s.state.rflags & x86::kFlagCf) != 0;
  u8 al = old_al;
  u8 adjustment = 0;
  bool cf = false;
  const bool adjusts_low = (old_al & 0xf) > 9 || (s.state.rflags & x86::kFlagAf) != 0;
  if (adjusts_low) {
    cf = old_cf || (kSubtract ? al < 6 : al > 0xf9);
    al = static_cast<u8>(kSubtract ? al - 6 : al + 6);
    adjustment = 6;
  }
  if (old_al > 0x99 || old_cf) {
    al = static_cast<u8>(kSubtract ? al - 0x60 : al + 0x60);
    adjustment += 0x60;
    cf = true;
  } else if (!kSubtract) {
    cf = false;
  }
  write_gpr(s, 0, 1, al);
  set_flag(s, x86::kFlagAf, adjusts_low);
  set_flag(s, x86::kFlagCf, cf);
  // Undefined: Intel's processors clear it, AMD's have that of the whole addition or subtraction. 32-bit code
  // only, so the host cannot be asked.
  set_flag(s, x86::kFlagOf, s.cpuid.is_amd() && overflows<kSubtract>(old_al, adjustment));
  set_szp(s, al);
  return Flow::kNext;
}

// AAA and AAS. SDM 2A.
template <bool kSubtract>
Flow ascii_adjust(Interpreter& s, const Op&, const Insn&) {
  u16 ax = static_cast<u16>(accumulator(s));
  const bool adjusts = (ax & 0xf) > 9 || (s.state.rflags & x86::kFlagAf) != 0;
  const u64 adjusted = sized_alu<kSubtract ? Alu::kSub : Alu::kAdd>(s, 2, ax, adjusts ? 0x106 : 0);
  ax = static_cast<u16>(adjusted & 0xff0f);
  write_gpr(s, 0, 2, ax);
  set_flag(s, x86::kFlagAf, adjusts);
  set_flag(s, x86::kFlagCf, adjusts);
  // Undefined: on AMD's processors they are those of the 16-bit addition or subtraction.
  if (s.cpuid.is_amd()) return Flow::kNext;
  set_flag(s, x86::kFlagOf, false);
  set_szp(s, static_cast<u8>(ax));
  return Flow::kNext;
}

Flow aam(Interpreter& s, const Op&, const Insn& insn) {
  const u8 base = static_cast<u8>(insn.immediate);
  if (base == 0) return s.raise(x86::kVectorDe), Flow::kFault;
  const u8 al = static_cast<u8>(accumulator(s));
  write_gpr(s, 0, 2, static_cast<u64>(al / base) << 8 | al % base);
  s.state.rflags &= ~(x86::kFlagCf | x86::kFlagAf | x86::kFlagOf);
  set_szp(s, al % base);
  return Flow::kNext;
}

Flow aad(Interpreter& s, const Op&, const Insn& insn) {
  const u64 ax = accumulator(s);
  // The flags left undefined are those of the addition.
  const u64 al = sized_alu<Alu::kAdd>(s, 1, ax, (ax >> 8 & 0xff) * (insn.immediate & 0xff));
  write_gpr(s, 0, 2, al);
  return Flow::kNext;
}

Flow salc(Interpreter& s, const Op&, const Insn&) {
  write_gpr(s, 0, 1, (s.state.rflags & x86::kFlagCf) != 0 ? 0xff : 0);
  return Flow::kNext;
}

constexpr SemanticRow kRows[] = {
    {ZYDIS_MNEMONIC_MUL, &multiply<Accumulate::kMul>},
    {ZYDIS_MNEMONIC_IMUL, &multiply<Accumulate::kImul>},
    {ZYDIS_MNEMONIC_DIV, &divide<false>},
    {ZYDIS_MNEMONIC_IDIV, &divide<true>},
    {ZYDIS_MNEMONIC_CBW, &sign_extend_accumulator},
    {ZYDIS_MNEMONIC_CWDE, &sign_extend_accumulator},
    {ZYDIS_MNEMONIC_CDQE, &sign_extend_accumulator},
    {ZYDIS_MNEMONIC_CWD, &sign_into_high_half},
    {ZYDIS_MNEMONIC_CDQ, &sign_into_high_half},
    {ZYDIS_MNEMONIC_CQO, &sign_into_high_half},
    {ZYDIS_MNEMONIC_BSWAP, &bswap},
    {ZYDIS_MNEMONIC_MOVBE, &movbe},
    {ZYDIS_MNEMONIC_MOVSXD, &movsxd_to_word},
    {ZYDIS_MNEMONIC_XCHG, &xchg},
    {ZYDIS_MNEMONIC_XADD, &xadd},
    {ZYDIS_MNEMONIC_CMPXCHG, &cmpxchg},
    {ZYDIS_MNEMONIC_CMPXCHG8B, &cmpxchg_pair},
    {ZYDIS_MNEMONIC_CMPXCHG16B, &cmpxchg_pair},
    {ZYDIS_MNEMONIC_XLAT, &xlat},
    {ZYDIS_MNEMONIC_DAA, &decimal_adjust<false>},
    {ZYDIS_MNEMONIC_DAS, &decimal_adjust<true>},
    {ZYDIS_MNEMONIC_AAA, &ascii_adjust<false>},
    {ZYDIS_MNEMONIC_AAS, &ascii_adjust<true>},
    {ZYDIS_MNEMONIC_AAM, &aam},
    {ZYDIS_MNEMONIC_AAD, &aad},
    {ZYDIS_MNEMONIC_SALC, &salc},
};

}  // namespace

std::span<const SemanticRow> integer_rows() { return kRows; }

}  // namespace doppel::interp
