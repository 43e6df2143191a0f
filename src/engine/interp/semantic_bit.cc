// Bit instructions: BT family, scans, double shifts, BMI, ADX, CRC32, POPCNT. SDM 2A-2D.
#include "engine/interp/guest_atomic.h"
#include "engine/interp/locked.h"
#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

enum class BitAction { kTest, kSet, kReset, kComplement };

u64 apply(BitAction action, u64 value, u64 mask) {
  switch (action) {
    case BitAction::kSet:
      return value | mask;
    case BitAction::kReset:
      return value & ~mask;
    case BitAction::kComplement:
      return value ^ mask;
    default:
      return value;
  }
}

// The word in memory before `mask` was applied to it; `is_locked`: as one atomic step.
template <BitAction kAction, class T>
u64 apply_in_host(u8* host, u64 mask, bool is_locked) {
  if (is_locked)
    return locked_update<T>(host, [&](T old) { return static_cast<T>(apply(kAction, old, mask)); });
  const T value = load_host<T>(host);
  if constexpr (kAction != BitAction::kTest) store_host<T>(host, static_cast<T>(apply(kAction, value, mask)));
  return value;
}

template <BitAction kAction, class T>
bool bit_word(Interpreter& s, const Insn& insn, u64 va, u64 mask, u64& value) {
  constexpr bool kWrites = kAction != BitAction::kTest;
  u8* host = nullptr;
  if constexpr (kWrites)
    host = update_pointer(&s, va, sizeof(T));
  else
    host = lookup_read<T>(&s, va);
  if (host != nullptr) {
    value = apply_in_host<kAction, T>(host, mask, insn.has_lock);
    return true;
  }
  if (kWrites && insn.has_lock) {
    T old;
    const bool is_good =
        update_locked<T>(s, va, old, [&](T word) { return static_cast<T>(apply(kAction, word, mask)); });
    value = old;
    return is_good;
  }
  if (kWrites && !s.probe_write(va, sizeof(T), s.access_mode)) return false;
  value = 0;
  if (!s.read_linear(va, &value, sizeof(T), s.access_mode)) return false;
  const u64 changed = apply(kAction, value, mask);
  return !kWrites || s.write_linear(va, &changed, sizeof(T), s.access_mode);
}

// Bit string in memory: a register index selects the word, with sign. SDM 2A "BT".
template <BitAction kAction>
Flow bit_memory(Interpreter& s, const Op& op, const Insn& insn, u64 index) {
  const unsigned size = insn.operands[0].size;
  const bool is_register_index = insn.operands[1].kind == OperandKind::kGpr;
  u64 offset = any_offset(&s, &op, trace_base(s, op));
  if (is_register_index) {
    const i64 word = sign_extend(index, size) >> (size == 2 ? 4 : (size == 4 ? 5 : 6));
    offset += static_cast<u64>(word * static_cast<i64>(size));
    const u8 mode = op.address_mode & kAddressSizeMask;
    if (mode == kAddress16) offset &= 0xffff;
    if (mode == kAddress32) offset &= 0xffffffff;
  }
  const u64 mask = u64{1} << (index & (8 * size - 1));
  u64 va;
  u64 value;
  if (!s.linear_address(op.segment, offset, size, kAction != BitAction::kTest, va)) return Flow::kFault;
  const bool is_good = size == 2 ? bit_word<kAction, u16>(s, insn, va, mask, value)
                                 : (size == 4 ? bit_word<kAction, u32>(s, insn, va, mask, value)
                                              : bit_word<kAction, u64>(s, insn, va, mask, value));
  if (!is_good) return Flow::kFault;
  set_flag(s, x86::kFlagCf, (value & mask) != 0);
  return Flow::kNext;
}

template <BitAction kAction>
Flow bit_test(Interpreter& s, const Op& op, const Insn& insn) {
  u64 index;
  if (!read_operand(s, op, insn, 1, index)) return Flow::kFault;
  if (insn.operands[0].kind == OperandKind::kMemory) return bit_memory<kAction>(s, op, insn, index);
  const Operand& operand = insn.operands[0];
  const u64 value = read_gpr(s, operand.reg, operand.size);
  const u64 mask = u64{1} << (index & (8 * operand.size - 1));
  set_flag(s, x86::kFlagCf, (value & mask) != 0);
  if (kAction != BitAction::kTest) write_gpr(s, operand.reg, operand.size, apply(kAction, value, mask));
  return Flow::kNext;
}

// One-source instructions run on the host with the guest's flags and old destination, so that what the manual
// leaves undefined comes out as the processor does it. The flags are loaded as in a shift handler.
#define HOST_UNARY(name, type)                                                 \
  do {                                                                         \
    type source = static_cast<type>(value);                                    \
    type target = static_cast<type>(old);                                      \
    asm("addb $0x7f, %%al\n\tsahf\n\t" name " %[b], %[a]\n\tlahf\n\tseto %%al" \
        : [a] "+r"(target), [f] "+a"(flags)                                    \
        : [b] "r"(source)                                                      \
        : "cc");                                                               \
    result = target;                                                           \
  } while (false)

#define HOST_UNARY_FUNCTION(function, name)                        \
  Flow function(Interpreter& s, const Op& op, const Insn& insn) {  \
    u64 value;                                                     \
    if (!read_operand(s, op, insn, 1, value)) return Flow::kFault; \
    const Operand& to = insn.operands[0];                          \
    const u64 old = read_gpr(s, to.reg, to.size);                  \
    u64 flags = pack_flags(s.state.rflags);                        \
    u64 result;                                                    \
    if (to.size == 2)                                              \
      HOST_UNARY(name, u16);                                       \
    else if (to.size == 4)                                         \
      HOST_UNARY(name, u32);                                       \
    else                                                           \
      HOST_UNARY(name, u64);                                       \
    set_arithmetic_flags(s, unpack_flags(flags));                  \
    write_gpr(s, to.reg, to.size, result);                         \
    return Flow::kNext;                                            \
  }

HOST_UNARY_FUNCTION(host_bsf, "bsf")
HOST_UNARY_FUNCTION(host_bsr, "bsr")
HOST_UNARY_FUNCTION(lzcnt, "lzcnt")
HOST_UNARY_FUNCTION(tzcnt, "tzcnt")
HOST_UNARY_FUNCTION(popcnt, "popcnt")

// A zero source leaves the destination as it was; with 32-bit operands its upper half stays too on Intel's
// processors, as the host's own BSF and BSR show.
template <SemanticFunction kHost>
Flow bit_scan(Interpreter& s, const Op& op, const Insn& insn) {
  const u64 before = s.state.gpr[insn.operands[0].slot];
  const Flow flow = kHost(s, op, insn);
  if (flow == Flow::kNext && (s.state.rflags & x86::kFlagZf) != 0)
    s.state.gpr[insn.operands[0].slot] = before;
  return flow;
}

// SHLD and SHRD.
#define DOUBLE_SHIFT(name, type)                                                     \
  do {                                                                               \
    type target = static_cast<type>(value);                                          \
    type source = static_cast<type>(fill);                                           \
    asm("addb $0x7f, %%al\n\tsahf\n\t" name " %%cl, %[b], %[a]\n\tlahf\n\tseto %%al" \
        : [a] "+r"(target), [f] "+a"(flags)                                          \
        : [b] "r"(source), "c"(count)                                                \
        : "cc");                                                                     \
    result = target;                                                                 \
  } while (false)

template <bool kLeft>
Flow double_shift(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = insn.operands[0].size;
  const u64 fill = read_gpr(s, insn.operands[1].reg, size);
  const u8 count = insn.operands[2].kind == OperandKind::kImmediate ? static_cast<u8>(insn.immediate)
                                                                    : static_cast<u8>(s.state.gpr[x86::kRcx]);
  u64 va = 0;
  u64 value = 0;
  const bool is_memory = insn.operands[0].kind == OperandKind::kMemory;
  if (is_memory) {
    if (!slow_load_for_update(&s, &op, trace_base(s, op), &value, size, va)) return Flow::kFault;
  } else {
    value = read_gpr(s, insn.operands[0].reg, size);
  }
  u64 flags = pack_flags(s.state.rflags);
  u64 result;
  if constexpr (kLeft) {
    if (size == 2)
      DOUBLE_SHIFT("shld", u16);
    else if (size == 4)
      DOUBLE_SHIFT("shld", u32);
    else
      DOUBLE_SHIFT("shld", u64);
  } else {
    if (size == 2)
      DOUBLE_SHIFT("shrd", u16);
    else if (size == 4)
      DOUBLE_SHIFT("shrd", u32);
    else
      DOUBLE_SHIFT("shrd", u64);
  }
  if (is_memory) {
    if (!s.write_linear(va, &result, size, s.access_mode)) return Flow::kFault;
  } else {
    write_gpr(s, insn.operands[0].reg, size, result);
  }
  set_arithmetic_flags(s, unpack_flags(flags));
  return Flow::kNext;
}

// ADCX and ADOX add with one flag as carry and change only that flag.
template <u64 kFlag>
Flow add_with_flag(Interpreter& s, const Op& op, const Insn& insn) {
  u64 source;
  if (!read_operand(s, op, insn, 1, source)) return Flow::kFault;
  const Operand& to = insn.operands[0];
  const u64 old = read_gpr(s, to.reg, to.size);
  const u128 sum = u128{old} + source + ((s.state.rflags & kFlag) != 0 ? 1 : 0);
  write_gpr(s, to.reg, to.size, static_cast<u64>(sum));
  set_flag(s, kFlag, static_cast<u64>(sum >> (8 * to.size)) != 0);
  return Flow::kNext;
}

// CRC-32C, a bit at a time is enough: the polynomial is reflected 0x1EDC6F41. SDM 2A "CRC32".
Flow crc32(Interpreter& s, const Op& op, const Insn& insn) {
  u64 source;
  if (!read_operand(s, op, insn, 1, source)) return Flow::kFault;
  u32 crc = static_cast<u32>(read_gpr(s, insn.operands[0].reg, 4));
  for (unsigned i = 0; i < insn.operands[1].size; ++i) {
    crc ^= static_cast<u32>(source >> (8 * i)) & 0xff;
    for (unsigned b = 0; b < 8; ++b) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
  }
  write_gpr(s, insn.operands[0].reg, insn.operands[0].size, crc);
  return Flow::kNext;
}

constexpr SemanticRow kRows[] = {
    {ZYDIS_MNEMONIC_BT, &bit_test<BitAction::kTest>},
    {ZYDIS_MNEMONIC_BTS, &bit_test<BitAction::kSet>},
    {ZYDIS_MNEMONIC_BTR, &bit_test<BitAction::kReset>},
    {ZYDIS_MNEMONIC_BTC, &bit_test<BitAction::kComplement>},
    {ZYDIS_MNEMONIC_BSF, &bit_scan<&host_bsf>},
    {ZYDIS_MNEMONIC_BSR, &bit_scan<&host_bsr>},
    {ZYDIS_MNEMONIC_LZCNT, &lzcnt},
    {ZYDIS_MNEMONIC_TZCNT, &tzcnt},
    {ZYDIS_MNEMONIC_POPCNT, &popcnt},
    {ZYDIS_MNEMONIC_SHLD, &double_shift<true>},
    {ZYDIS_MNEMONIC_SHRD, &double_shift<false>},
    {ZYDIS_MNEMONIC_ADCX, &add_with_flag<x86::kFlagCf>},
    {ZYDIS_MNEMONIC_ADOX, &add_with_flag<x86::kFlagOf>},
    {ZYDIS_MNEMONIC_CRC32, &crc32},
};

}  // namespace

std::span<const SemanticRow> bit_rows() { return kRows; }

}  // namespace doppel::interp
