// Integer instructions without a specialised handler: multiply, divide, exchange, convert, decimal. SDM 2A-2D.
#include <cstring>

#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

u64& accumulator(Interpreter& s) { return s.state.gpr[x86::kRax]; }
u64& high_half(Interpreter& s) { return s.state.gpr[x86::kRdx]; }

// One-operand MUL and IMUL.
template <bool kSigned>
Flow multiply(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = insn.operands[0].size;
  u64 source;
  if (!read_operand(s, op, insn, 0, source)) return Flow::kFault;
  u64 low = accumulator(s);
  u64 high = high_half(s);
  u64 flags = (s.state.rflags & x86::kArithmeticFlags) | x86::kFlagReserved1;
#define MULTIPLY(suffix, modifier)                                                                    \
  if constexpr (kSigned) {                                                                            \
    asm volatile("push %[f]\n\tpopf\n\timul" suffix " %" modifier "[b]\n\tpushf\n\tpop %[f]"          \
                 : "+a"(low), "+d"(high), [f] "+r"(flags) : [b] "r"(source) : "cc");                  \
  } else {                                                                                            \
    asm volatile("push %[f]\n\tpopf\n\tmul" suffix " %" modifier "[b]\n\tpushf\n\tpop %[f]"           \
                 : "+a"(low), "+d"(high), [f] "+r"(flags) : [b] "r"(source) : "cc");                  \
  }
  switch (size) {
    case 1: MULTIPLY("b", "b"); break;
    case 2: MULTIPLY("w", "w"); break;
    case 4: MULTIPLY("l", "k"); break;
    default: MULTIPLY("q", "q"); break;
  }
#undef MULTIPLY
  accumulator(s) = low;
  high_half(s) = high;
  set_arithmetic_flags(s, flags);
  return Flow::kNext;
}

// DIV and IDIV: #DE for zero and for quotients that do not fit. Flags are undefined and left alone.
template <bool kSigned>
Flow divide(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = insn.operands[0].size;
  u64 raw;
  if (!read_operand(s, op, insn, 0, raw)) return Flow::kFault;
  const unsigned bits = 8 * size;
  const u64 mask = size_mask(size);
  u128 dividend = size == 1 ? u128{accumulator(s) & 0xffff}
                            : (u128{high_half(s) & mask} << bits) | (accumulator(s) & mask);
  if (raw == 0) return s.raise(x86::kVectorDe), Flow::kFault;
  u64 quotient;
  u64 remainder;
  if constexpr (kSigned) {
    const unsigned shift = 128 - 2 * bits;
    const i128 wide = static_cast<i128>(dividend << shift) >> shift;
    const i64 divisor = sign_extend(raw, size);
    // The one quotient that overflows 128 bits itself.
    const bool is_extreme = divisor == -1 && dividend << shift == u128{1} << 127;
    if (is_extreme) return s.raise(x86::kVectorDe), Flow::kFault;
    const i128 result = wide / divisor;
    const i128 limit = i128{1} << (bits - 1);
    if (result >= limit || result < -limit) return s.raise(x86::kVectorDe), Flow::kFault;
    quotient = static_cast<u64>(result);
    remainder = static_cast<u64>(wide % divisor);
  } else {
    const u128 result = dividend / raw;
    if (result > mask) return s.raise(x86::kVectorDe), Flow::kFault;
    quotient = static_cast<u64>(result);
    remainder = static_cast<u64>(dividend % raw);
  }
  if (size == 1) {
    write_gpr(s, 0, 2, (quotient & 0xff) | (remainder & 0xff) << 8);
  } else {
    write_gpr(s, x86::kRax * 8, size, quotient);
    write_gpr(s, x86::kRdx * 8, size, remainder);
  }
  return Flow::kNext;
}

Flow sign_extend_accumulator(Interpreter& s, const Op&, const Insn& insn) {
  // CBW, CWDE, CDQE: by the size of the result.
  const unsigned to = insn.mnemonic == ZYDIS_MNEMONIC_CBW ? 2 : (insn.mnemonic == ZYDIS_MNEMONIC_CWDE ? 4 : 8);
  write_gpr(s, 0, to, static_cast<u64>(sign_extend(accumulator(s), to / 2)));
  return Flow::kNext;
}

Flow sign_into_high_half(Interpreter& s, const Op&, const Insn& insn) {
  const unsigned size = insn.mnemonic == ZYDIS_MNEMONIC_CWD ? 2 : (insn.mnemonic == ZYDIS_MNEMONIC_CDQ ? 4 : 8);
  write_gpr(s, x86::kRdx * 8, size, static_cast<u64>(sign_extend(accumulator(s), size) >> 63));
  return Flow::kNext;
}

Flow bswap(Interpreter& s, const Op&, const Insn& insn) {
  const Operand& operand = insn.operands[0];
  const u64 value = read_gpr(s, operand.reg, operand.size);
  // A 16-bit BSWAP is undefined; processors write zero.
  const u64 swapped = operand.size == 8 ? __builtin_bswap64(value)
                                        : (operand.size == 4 ? __builtin_bswap32(static_cast<u32>(value)) : 0);
  write_gpr(s, operand.reg, operand.size, swapped);
  return Flow::kNext;
}

Flow movbe(Interpreter& s, const Op& op, const Insn& insn) {
  u64 value;
  if (!read_operand(s, op, insn, 1, value)) return Flow::kFault;
  const unsigned size = insn.operands[0].size;
  return fault_of(write_operand(s, op, insn, 0, __builtin_bswap64(value) >> (64 - 8 * size)));
}

// Reads the memory or register operand 0 for an update that is atomic where LOCK (or XCHG) asks for it.
struct Update {
  u64 va = 0;
  u8* host = nullptr;  // operand memory for host atomics; nullptr: use read and write
};

bool begin_update(Interpreter& s, const Op& op, unsigned size, Update& update, u64& value) {
  if (!memory_address(s, op, size, true, update.va) || !s.probe_write(update.va, size, s.access_mode)) return false;
  update.host = update_pointer(&s, update.va, size);
  value = 0;
  if (update.host != nullptr) {
    std::memcpy(&value, update.host, size);
    return true;
  }
  return s.read_linear(update.va, &value, size, s.access_mode);
}

template <class T>
bool swap_if_equal(u8* host, u64& expected, u64 desired) {
  T old = static_cast<T>(expected);
  const bool is_done = __atomic_compare_exchange_n(reinterpret_cast<T*>(host), &old, static_cast<T>(desired), false,
                                                   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  expected = old;
  return is_done;
}

// Stores `desired` if the operand still holds `expected`; else loads what it holds into `expected`.
bool commit_update(Interpreter& s, const Update& update, unsigned size, u64& expected, u64 desired, bool& is_done) {
  is_done = true;
  if (update.host == nullptr) return s.write_linear(update.va, &desired, size, s.access_mode);
  switch (size) {
    case 1: is_done = swap_if_equal<u8>(update.host, expected, desired); break;
    case 2: is_done = swap_if_equal<u16>(update.host, expected, desired); break;
    case 4: is_done = swap_if_equal<u32>(update.host, expected, desired); break;
    default: is_done = swap_if_equal<u64>(update.host, expected, desired); break;
  }
  return true;
}

Flow xchg(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned memory_index = insn.operands[0].kind == OperandKind::kMemory ? 0 : 1;
  const Operand& reg = insn.operands[1 - memory_index];
  const unsigned size = reg.size;
  const u64 desired = read_gpr(s, reg.reg, size);
  Update update;
  u64 value;
  if (!begin_update(s, op, size, update, value)) return Flow::kFault;
  for (bool is_done = false; !is_done;) {
    if (!commit_update(s, update, size, value, desired, is_done)) return Flow::kFault;
  }
  write_gpr(s, reg.reg, size, value);
  return Flow::kNext;
}

void add_flags(Interpreter& s, unsigned size, u64 a, u64 b, u64& sum) {
  u64 flags = pack_flags(s.state.rflags);
  switch (size) {
    case 1: sum = alu<Alu::kAdd, u8>(static_cast<u8>(a), static_cast<u8>(b), flags); break;
    case 2: sum = alu<Alu::kAdd, u16>(static_cast<u16>(a), static_cast<u16>(b), flags); break;
    case 4: sum = alu<Alu::kAdd, u32>(static_cast<u32>(a), static_cast<u32>(b), flags); break;
    default: sum = alu<Alu::kAdd, u64>(a, b, flags); break;
  }
  set_arithmetic_flags(s, unpack_flags(flags));
}

void compare_flags(Interpreter& s, unsigned size, u64 a, u64 b) {
  u64 flags = pack_flags(s.state.rflags);
  switch (size) {
    case 1: alu<Alu::kCmp, u8>(static_cast<u8>(a), static_cast<u8>(b), flags); break;
    case 2: alu<Alu::kCmp, u16>(static_cast<u16>(a), static_cast<u16>(b), flags); break;
    case 4: alu<Alu::kCmp, u32>(static_cast<u32>(a), static_cast<u32>(b), flags); break;
    default: alu<Alu::kCmp, u64>(a, b, flags); break;
  }
  set_arithmetic_flags(s, unpack_flags(flags));
}

Flow xadd(Interpreter& s, const Op& op, const Insn& insn) {
  const Operand& source = insn.operands[1];
  const unsigned size = source.size;
  const u64 addend = read_gpr(s, source.reg, size);
  u64 sum;
  if (insn.operands[0].kind == OperandKind::kGpr) {
    const u64 old = read_gpr(s, insn.operands[0].reg, size);
    add_flags(s, size, old, addend, sum);
    write_gpr(s, source.reg, size, old);
    write_gpr(s, insn.operands[0].reg, size, sum);
    return Flow::kNext;
  }
  Update update;
  u64 old;
  if (!begin_update(s, op, size, update, old)) return Flow::kFault;
  for (bool is_done = false; !is_done;) {
    add_flags(s, size, old, addend, sum);
    if (!commit_update(s, update, size, old, sum, is_done)) return Flow::kFault;
  }
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
    compare_flags(s, size, expected, old);
    if (old == expected) write_gpr(s, insn.operands[0].reg, size, desired);
    else write_gpr(s, x86::kRax * 8, size, old);
    return Flow::kNext;
  }
  Update update;
  if (!begin_update(s, op, size, update, old)) return Flow::kFault;
  bool is_done = false;
  while (!is_done && old == expected) {
    if (!commit_update(s, update, size, old, desired, is_done)) return Flow::kFault;
  }
  // A failed comparison writes the old value back. SDM 2A "CMPXCHG".
  if (!is_done && update.host == nullptr && !s.write_linear(update.va, &old, size, s.access_mode)) return Flow::kFault;
  compare_flags(s, size, expected, old);
  if (old != expected) write_gpr(s, x86::kRax * 8, size, old);
  return Flow::kNext;
}

// CMPXCHG8B and CMPXCHG16B.
Flow cmpxchg_pair(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned half = insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B ? 8 : 4;
  u64 va;
  if (!memory_address(s, op, 2 * half, true, va)) return Flow::kFault;
  if (half == 8 && (va & 15) != 0) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  if (!s.probe_write(va, 2 * half, s.access_mode)) return Flow::kFault;
  auto& gpr = s.state.gpr;
  const u64 mask = size_mask(half);
  u64 old[2] = {};
  const u64 expected[2] = {gpr[x86::kRax] & mask, gpr[x86::kRdx] & mask};
  const u64 desired[2] = {gpr[x86::kRbx] & mask, gpr[x86::kRcx] & mask};
  u8* host = update_pointer(&s, va, 2 * half);
  bool is_equal;
  if (host != nullptr && half == 8) {
    old[0] = expected[0];
    old[1] = expected[1];
    asm volatile("lock cmpxchg16b %[m]"
                 : [m] "+m"(*reinterpret_cast<u128*>(host)), "+a"(old[0]), "+d"(old[1]), "=@ccz"(is_equal)
                 : "b"(desired[0]), "c"(desired[1])
                 : "memory");
  } else if (host != nullptr) {
    u64 packed = expected[0] | expected[1] << 32;
    is_equal = swap_if_equal<u64>(host, packed, desired[0] | desired[1] << 32);
    old[0] = packed & mask;
    old[1] = packed >> 32;
  } else {
    u8 bytes[16] = {};
    if (!s.read_linear(va, bytes, 2 * half, s.access_mode)) return Flow::kFault;
    std::memcpy(&old[0], bytes, half);
    std::memcpy(&old[1], bytes + half, half);
    is_equal = old[0] == expected[0] && old[1] == expected[1];
    const u64* stored = is_equal ? desired : old;
    std::memcpy(bytes, &stored[0], half);
    std::memcpy(bytes + half, &stored[1], half);
    if (!s.write_linear(va, bytes, 2 * half, s.access_mode)) return Flow::kFault;
  }
  set_flag(s, x86::kFlagZf, is_equal);
  if (!is_equal) {
    write_gpr(s, x86::kRax * 8, half, old[0]);
    write_gpr(s, x86::kRdx * 8, half, old[1]);
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

// DAA and DAS. SDM 2A.
template <bool kSubtract>
Flow decimal_adjust(Interpreter& s, const Op&, const Insn&) {
  const u8 old_al = static_cast<u8>(accumulator(s));
  const bool old_cf = (s.state.rflags & x86::kFlagCf) != 0;
  u8 al = old_al;
  bool cf = false;
  const bool adjusts_low = (old_al & 0xf) > 9 || (s.state.rflags & x86::kFlagAf) != 0;
  if (adjusts_low) {
    cf = old_cf || (kSubtract ? al < 6 : al > 0xf9);
    al = static_cast<u8>(kSubtract ? al - 6 : al + 6);
  }
  if (old_al > 0x99 || old_cf) {
    al = static_cast<u8>(kSubtract ? al - 0x60 : al + 0x60);
    cf = true;
  } else if (!kSubtract) {
    cf = false;
  }
  write_gpr(s, 0, 1, al);
  set_flag(s, x86::kFlagAf, adjusts_low);
  set_flag(s, x86::kFlagCf, cf);
  set_flag(s, x86::kFlagOf, false);
  set_szp(s, al);
  return Flow::kNext;
}

// AAA and AAS. SDM 2A.
template <bool kSubtract>
Flow ascii_adjust(Interpreter& s, const Op&, const Insn&) {
  u16 ax = static_cast<u16>(accumulator(s));
  const bool adjusts = (ax & 0xf) > 9 || (s.state.rflags & x86::kFlagAf) != 0;
  if (adjusts) ax = static_cast<u16>(kSubtract ? ax - 0x106 : ax + 0x106);
  ax &= 0xff0f;
  write_gpr(s, 0, 2, ax);
  set_flag(s, x86::kFlagAf, adjusts);
  set_flag(s, x86::kFlagCf, adjusts);
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
  const u8 al = static_cast<u8>(ax + (ax >> 8 & 0xff) * (insn.immediate & 0xff));
  write_gpr(s, 0, 2, al);
  s.state.rflags &= ~(x86::kFlagCf | x86::kFlagAf | x86::kFlagOf);
  set_szp(s, al);
  return Flow::kNext;
}

Flow salc(Interpreter& s, const Op&, const Insn&) {
  write_gpr(s, 0, 1, (s.state.rflags & x86::kFlagCf) != 0 ? 0xff : 0);
  return Flow::kNext;
}

constexpr SemanticRow kRows[] = {
    {ZYDIS_MNEMONIC_MUL, &multiply<false>},
    {ZYDIS_MNEMONIC_IMUL, &multiply<true>},
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
