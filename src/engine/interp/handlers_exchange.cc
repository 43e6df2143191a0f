// Handlers in front of semantic functions, for operands at hand: CMPXCHG, XADD and XCHG with memory, BT's
// family.
#include <bit>
#include <type_traits>

#include "engine/interp/guest_atomic.h"
#include "engine/interp/handlers.h"

namespace doppel::interp {
namespace {

// Everything that is not plain is the semantic function's.

// A failed comparison writes the old value back. SDM 2A "CMPXCHG".
template <class T>
void INTERP_CALL compare_exchange(Interpreter* s, const Op* op, u64 flags, u64 base) {
  u8* host = lookup_write<T>(s, Flat::of(s, op, base));
  if (host == nullptr) [[unlikely]]
    GOTO(call_semantic);
  const T expected = get<T>(s, x86::kRax * 8);
  T old = expected;
  const bool is_equal = locked_compare_exchange<T>(host, old, get<T>(s, op->source));
  alu<Alu::kCmp, T>(expected, old, flags);
  if (!is_equal) set<T>(s, x86::kRax * 8, old);
  NEXT();
}

template <class T>
void INTERP_CALL exchange_add(Interpreter* s, const Op* op, u64 flags, u64 base) {
  u8* host = lookup_write<T>(s, Flat::of(s, op, base));
  if (host == nullptr) [[unlikely]]
    GOTO(call_semantic);
  const T addend = get<T>(s, op->source);
  const T old = locked_add<T>(host, addend);
  alu<Alu::kAdd, T>(old, addend, flags);
  set<T>(s, op->source, old);
  NEXT();
}

template <class T>
void INTERP_CALL exchange(Interpreter* s, const Op* op, u64 flags, u64 base) {
  u8* host = lookup_write<T>(s, Flat::of(s, op, base));
  if (host == nullptr) [[unlikely]]
    GOTO(call_semantic);
  set<T>(s, op->source, locked_exchange<T>(host, get<T>(s, op->source)));
  NEXT();
}

enum class Bit : u8 { kTest, kSet, kReset, kComplement };

template <Bit kBit, class T>
INTERP_INLINE T changed(T value, T mask) {
  if constexpr (kBit == Bit::kSet) return static_cast<T>(value | mask);
  if constexpr (kBit == Bit::kReset) return static_cast<T>(value & ~mask);
  if constexpr (kBit == Bit::kComplement) return static_cast<T>(value ^ mask);
  return value;
}

// Only CF changes. SDM 2A "BT".
template <class T>
INTERP_INLINE void set_carry(u64& flags, T value, T mask) {
  flags = (value & mask) != 0 ? flags | kPackedCf : flags & ~kPackedCf;
}

template <class T, bool kImmediate>
INTERP_INLINE T bit_index(Interpreter* s, const Op* op) {
  if constexpr (kImmediate)
    return op->width;
  else
    return get<T>(s, op->source);
}

template <Bit kBit, class T, bool kImmediate>
void INTERP_CALL bit_register(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const T mask = static_cast<T>(T{1} << (bit_index<T, kImmediate>(s, op) & (8 * sizeof(T) - 1)));
  const T value = get<T>(s, op->destination);
  set_carry<T>(flags, value, mask);
  if constexpr (kBit != Bit::kTest) set<T>(s, op->destination, changed<kBit, T>(value, mask));
  NEXT();
}

// A register selects the word of a bit string, with sign. SDM 2A "BT".
template <Bit kBit, class T, bool kImmediate, bool kLock>
void INTERP_CALL bit_memory(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const T index = bit_index<T, kImmediate>(s, op);
  u64 va = Flat::of(s, op, base);
  if constexpr (!kImmediate) {
    const i64 signed_index = static_cast<std::make_signed_t<T>>(index);
    va += static_cast<u64>((signed_index >> std::countr_zero(8 * sizeof(T))) * i64{sizeof(T)});
  }
  const T mask = static_cast<T>(T{1} << (index & (8 * sizeof(T) - 1)));
  u8* host = kBit == Bit::kTest ? lookup_read<T>(s, va) : lookup_write<T>(s, va);
  if (host == nullptr) [[unlikely]]
    GOTO(call_semantic);
  T value;
  if constexpr (kLock) {
    value = locked_update<T>(host, [mask](T old) { return changed<kBit, T>(old, mask); });
  } else {
    value = load_host<T>(host);
    if constexpr (kBit != Bit::kTest) store_host<T>(host, changed<kBit, T>(value, mask));
  }
  set_carry<T>(flags, value, mask);
  NEXT();
}

template <Bit kBit>
Handler select_bit(Op& op, const Insn& insn, AddressKind kind) {
  const bool has_immediate = insn.operands[1].kind == OperandKind::kImmediate;
  if (has_immediate)
    op.width = static_cast<u8>(insn.immediate);
  else
    op.source = insn.operands[1].reg;
  op.destination = insn.operands[0].reg;
  const bool is_register = insn.operands[0].kind == OperandKind::kGpr;
  if (!is_register && kind == AddressKind::kAny) return nullptr;
  return by_width(insn.operands[0].size, [&]<class T>() -> Handler {
    if constexpr (sizeof(T) == 1) {
      return nullptr;
    } else {
      if (is_register) return has_immediate ? &bit_register<kBit, T, true> : &bit_register<kBit, T, false>;
      if constexpr (kBit != Bit::kTest) {
        if (insn.has_lock)
          return has_immediate ? &bit_memory<kBit, T, true, true> : &bit_memory<kBit, T, false, true>;
      }
      return has_immediate ? &bit_memory<kBit, T, true, false> : &bit_memory<kBit, T, false, false>;
    }
  });
}

}  // namespace

Handler select_exchange(Op& op, const Insn& insn, AddressKind kind) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
      return select_bit<Bit::kTest>(op, insn, kind);
    case ZYDIS_MNEMONIC_BTS:
      return select_bit<Bit::kSet>(op, insn, kind);
    case ZYDIS_MNEMONIC_BTR:
      return select_bit<Bit::kReset>(op, insn, kind);
    case ZYDIS_MNEMONIC_BTC:
      return select_bit<Bit::kComplement>(op, insn, kind);
    default:
      break;
  }
  if (kind == AddressKind::kAny || kind == AddressKind::kNone) return nullptr;
  const Operand& reg = insn.operands[insn.operands[0].kind == OperandKind::kMemory ? 1 : 0];
  op.source = reg.reg;
  return by_width(reg.size, [&]<class T>() -> Handler {
    switch (insn.mnemonic) {
      case ZYDIS_MNEMONIC_CMPXCHG:
        return &compare_exchange<T>;
      case ZYDIS_MNEMONIC_XADD:
        return &exchange_add<T>;
      case ZYDIS_MNEMONIC_XCHG:
        return &exchange<T>;
      default:
        return nullptr;
    }
  });
}

}  // namespace doppel::interp
