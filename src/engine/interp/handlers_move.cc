// Handlers that move data: MOV, MOVZX, MOVSX, LEA, CMOVcc, SETcc, PUSH, POP, XCHG. SDM 2A, 2B.
#include <type_traits>

#include "engine/interp/handlers.h"

namespace doppel::interp {
namespace {

template <class T>
void INTERP_CALL mov_reg_reg(Interpreter* s, const Op* op, u64 flags, u64 base) {
  set<T>(s, op->destination, get<T>(s, op->source));
  NEXT();
}

template <class T>
void INTERP_CALL mov_reg_imm(Interpreter* s, const Op* op, u64 flags, u64 base) {
  set<T>(s, op->destination, static_cast<T>(op->immediate));
  NEXT();
}

template <class T, class A>
void INTERP_CALL mov_load(Interpreter* s, const Op* op, u64 flags, u64 base) {
  T value;
  if constexpr (std::is_same_v<A, Any>) {
    if (!slow_load(s, op, base, &value, sizeof(T))) GOTO(leave_faulted);
  } else {
    const u8* host = lookup_read<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((mov_load<T, Any>));
    value = load_host<T>(host);
  }
  set<T>(s, op->destination, value);
  if constexpr (std::is_same_v<A, Any>)
    NEXT_AFTER_SLOW_ACCESS();
  else
    NEXT();
}

template <class T, class A, bool kImmediate>
void INTERP_CALL mov_store(Interpreter* s, const Op* op, u64 flags, u64 base) {
  T value;
  if constexpr (kImmediate)
    value = static_cast<T>(op->immediate);
  else
    value = get<T>(s, op->source);
  if constexpr (std::is_same_v<A, Any>) {
    if (!slow_store(s, op, base, &value, sizeof(T))) GOTO(leave_faulted);
    NEXT_AFTER_SLOW_ACCESS();
  } else {
    u8* host = lookup_write<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((mov_store<T, Any, kImmediate>));
    store_host<T>(host, value);
    NEXT();
  }
}

template <class To, class From, class A>
void INTERP_CALL extend_mem(Interpreter* s, const Op* op, u64 flags, u64 base) {
  From value;
  if constexpr (std::is_same_v<A, Any>) {
    if (!slow_load(s, op, base, &value, sizeof(From))) GOTO(leave_faulted);
  } else {
    const u8* host = lookup_read<From>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((extend_mem<To, From, Any>));
    value = load_host<From>(host);
  }
  set<std::make_unsigned_t<To>>(s, op->destination,
                                static_cast<std::make_unsigned_t<To>>(static_cast<To>(value)));
  if constexpr (std::is_same_v<A, Any>)
    NEXT_AFTER_SLOW_ACCESS();
  else
    NEXT();
}

template <class To, class From>
void INTERP_CALL extend_reg(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const From value = get<From>(s, op->source);
  set<std::make_unsigned_t<To>>(s, op->destination,
                                static_cast<std::make_unsigned_t<To>>(static_cast<To>(value)));
  NEXT();
}

template <class T, class A>
void INTERP_CALL lea(Interpreter* s, const Op* op, u64 flags, u64 base) {
  if constexpr (std::is_same_v<A, Any>)
    set<T>(s, op->destination, static_cast<T>(any_offset(s, op, base)));
  else
    set<T>(s, op->destination, static_cast<T>(A::of(s, op, base)));
  NEXT();
}

// The load happens, and can fault, whatever the condition says. SDM 2A "CMOVcc".
template <unsigned kCode, class T, class A>
void INTERP_CALL cmov(Interpreter* s, const Op* op, u64 flags, u64 base) {
  T value;
  if constexpr (std::is_same_v<A, InRegister>) {
    value = get<T>(s, op->source);
  } else if constexpr (std::is_same_v<A, Any>) {
    if (!slow_load(s, op, base, &value, sizeof(T))) GOTO(leave_faulted);
  } else {
    const u8* host = lookup_read<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((cmov<kCode, T, Any>));
    value = load_host<T>(host);
  }
  const T old = get<T>(s, op->destination);
  set<T>(s, op->destination, condition<kCode>(flags) ? value : old);
  if constexpr (std::is_same_v<A, Any>)
    NEXT_AFTER_SLOW_ACCESS();
  else
    NEXT();
}

template <unsigned kCode, class A>
void INTERP_CALL setcc(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u8 value = condition<kCode>(flags) ? 1 : 0;
  if constexpr (std::is_same_v<A, InRegister>) {
    set<u8>(s, op->destination, value);
    NEXT();
  } else if constexpr (std::is_same_v<A, Any>) {
    if (!slow_store(s, op, base, &value, 1)) GOTO(leave_faulted);
    NEXT_AFTER_SLOW_ACCESS();
  } else {
    u8* host = lookup_write<u8>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((setcc<kCode, Any>));
    store_host<u8>(host, value);
    NEXT();
  }
}

// 64-bit pushes and pops of registers; the rest goes through the semantic table.
template <bool kImmediate>
INTERP_SLOW bool push_slow(Interpreter* s, const Op* op) {
  s->remaining_in_trace = op->remaining;
  return s->push(kImmediate ? op->immediate : get<u64>(s, op->source), 8);
}

template <bool kImmediate>
void INTERP_CALL push_slow_path(Interpreter* s, const Op* op, u64 flags, u64 base) {
  if (!push_slow<kImmediate>(s, op)) GOTO(leave_faulted);
  NEXT_AFTER_SLOW_ACCESS();
}

template <bool kImmediate>
void INTERP_CALL push(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u64 va = s->state.gpr[x86::kRsp] - 8;
  u8* host = lookup_write<u64>(s, va);
  if (host == nullptr) [[unlikely]]
    GOTO((push_slow_path<kImmediate>));
  store_host<u64>(host, kImmediate ? op->immediate : get<u64>(s, op->source));
  s->state.gpr[x86::kRsp] = va;
  NEXT();
}

INTERP_SLOW bool pop_slow(Interpreter* s, const Op* op) {
  s->remaining_in_trace = op->remaining;
  u64 value;
  if (!s->pop(value, 8)) return false;
  set<u64>(s, op->destination, value);
  return true;
}

void INTERP_CALL pop_slow_path(Interpreter* s, const Op* op, u64 flags, u64 base) {
  if (!pop_slow(s, op)) GOTO(leave_faulted);
  NEXT_AFTER_SLOW_ACCESS();
}

void INTERP_CALL pop(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u64 va = s->state.gpr[x86::kRsp];
  const u8* host = lookup_read<u64>(s, va);
  if (host == nullptr) [[unlikely]]
    GOTO(pop_slow_path);
  const u64 value = load_host<u64>(host);
  s->state.gpr[x86::kRsp] = va + 8;
  set<u64>(s, op->destination, value);
  NEXT();
}

void INTERP_CALL nop(Interpreter* s, const Op* op, u64 flags, u64 base) { NEXT(); }

template <class T>
void INTERP_CALL xchg(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const T a = get<T>(s, op->destination);
  const T b = get<T>(s, op->source);
  set<T>(s, op->destination, b);
  set<T>(s, op->source, a);
  NEXT();
}

template <class To, class From>
Handler select_one_extend(AddressKind kind) {
  if (kind == AddressKind::kNone) return &extend_reg<To, From>;
  return by_address(kind, []<class A>() -> Handler { return &extend_mem<To, From, A>; });
}

template <class From>
Handler select_extend_to(unsigned to, AddressKind kind) {
  constexpr bool kSigned = std::is_signed_v<From>;
  if (to == 2) {
    // From 16 bits it is a plain move.
    if constexpr (sizeof(From) <= 2)
      return select_one_extend<std::conditional_t<kSigned, i16, u16>, From>(kind);
    else
      return nullptr;
  }
  if (to == 4) return select_one_extend<std::conditional_t<kSigned, i32, u32>, From>(kind);
  return select_one_extend<std::conditional_t<kSigned, i64, u64>, From>(kind);
}

template <unsigned kCode>
Handler select_one_cmov(unsigned width, AddressKind kind) {
  return by_place(kind, [&]<class A>() -> Handler {
    switch (width) {
      case 2:
        return &cmov<kCode, u16, A>;
      case 4:
        return &cmov<kCode, u32, A>;
      default:
        return &cmov<kCode, u64, A>;
    }
  });
}

}  // namespace

Handler select_mov(unsigned width, Form form, AddressKind kind) {
  return by_width(width, [&]<class T>() -> Handler {
    switch (form) {
      case Form::kRegReg:
        return &mov_reg_reg<T>;
      case Form::kRegImm:
        return &mov_reg_imm<T>;
      case Form::kRegMem:
        return by_address(kind, []<class A>() -> Handler { return &mov_load<T, A>; });
      case Form::kMemReg:
        return by_address(kind, []<class A>() -> Handler { return &mov_store<T, A, false>; });
      default:
        return by_address(kind, []<class A>() -> Handler { return &mov_store<T, A, true>; });
    }
  });
}

Handler select_extend(bool is_signed, unsigned to, unsigned from, AddressKind kind) {
  switch (from) {
    case 1:
      return is_signed ? select_extend_to<i8>(to, kind) : select_extend_to<u8>(to, kind);
    case 2:
      return is_signed ? select_extend_to<i16>(to, kind) : select_extend_to<u16>(to, kind);
    case 4:
      // MOVSXD with a 16-bit operand size reads 16 bits. SDM 2B "MOVSX/MOVSXD".
      if (to == 2) return select_extend_to<i16>(to, kind);
      return is_signed ? select_extend_to<i32>(to, kind) : nullptr;
    default:
      return nullptr;
  }
}

Handler select_lea(unsigned width, AddressKind kind) {
  return by_width(width, [&]<class T>() -> Handler {
    return by_address(kind, []<class A>() -> Handler {
      // LEA ignores the segment.
      if constexpr (std::is_same_v<A, SegmentBased>)
        return &lea<T, BaseIndex>;
      else
        return &lea<T, A>;
    });
  });
}

Handler select_cmov(unsigned code, unsigned width, AddressKind kind) {
  static constexpr auto kSelect = []<unsigned... kCodes>(std::integer_sequence<unsigned, kCodes...>) {
    return std::array{&select_one_cmov<kCodes>...};
  }(std::make_integer_sequence<unsigned, 16>());
  return kSelect[code](width, kind);
}

Handler select_setcc(unsigned code, AddressKind kind) {
  return by_place(kind, [&]<class A>() -> Handler {
    static constexpr auto kHandlers = []<unsigned... kCodes>(std::integer_sequence<unsigned, kCodes...>) {
      return std::array<Handler, 16>{&setcc<kCodes, A>...};
    }(std::make_integer_sequence<unsigned, 16>());
    return kHandlers[code];
  });
}

Handler select_push(bool is_immediate) { return is_immediate ? &push<true> : &push<false>; }
Handler select_pop() { return &pop; }
Handler select_nop() { return &nop; }
Handler select_xchg_registers(unsigned width) {
  return by_width(width, []<class T>() -> Handler { return &xchg<T>; });
}

}  // namespace doppel::interp
