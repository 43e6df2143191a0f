// Handlers of the arithmetic and logic instructions. SDM 2A: ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST,
// INC, DEC, ...
#include <type_traits>

#include "engine/interp/guest_atomic.h"
#include "engine/interp/handlers.h"
#include "engine/interp/host_processor.h"
#include "engine/interp/locked.h"

namespace doppel::interp {
namespace {

template <Alu kOperation, class T>
void INTERP_CALL alu_reg_reg(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const T result = alu<kOperation, T>(get<T>(s, op->destination), get<T>(s, op->source), flags);
  if constexpr (writes_result(kOperation)) set<T>(s, op->destination, result);
  NEXT();
}

template <Alu kOperation, class T>
void INTERP_CALL alu_reg_imm(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const T result = alu<kOperation, T>(get<T>(s, op->destination), static_cast<T>(op->immediate), flags);
  if constexpr (writes_result(kOperation)) set<T>(s, op->destination, result);
  NEXT();
}

template <Alu kOperation, class T, class A>
void INTERP_CALL alu_reg_mem(Interpreter* s, const Op* op, u64 flags, u64 base) {
  T operand;
  if constexpr (std::is_same_v<A, Any>) {
    if (!slow_load(s, op, base, &operand, sizeof(T))) GOTO(leave_faulted);
  } else {
    const u8* host = lookup_read<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((alu_reg_mem<kOperation, T, Any>));
    operand = load_host<T>(host);
  }
  const T result = alu<kOperation, T>(get<T>(s, op->destination), operand, flags);
  if constexpr (writes_result(kOperation)) set<T>(s, op->destination, result);
  if constexpr (std::is_same_v<A, Any>)
    NEXT_AFTER_SLOW_ACCESS();
  else
    NEXT();
}

// The second operand of a memory-destination form.
template <class T, bool kImmediate>
INTERP_INLINE T second(Interpreter* s, const Op* op) {
  if constexpr (kImmediate)
    return static_cast<T>(op->immediate);
  else
    return get<T>(s, op->source);
}

template <Alu kOperation, class T, class A, bool kImmediate>
void INTERP_CALL alu_mem(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const T operand = second<T, kImmediate>(s, op);
  if constexpr (!writes_result(kOperation)) {
    T value;
    if constexpr (std::is_same_v<A, Any>) {
      if (!slow_load(s, op, base, &value, sizeof(T))) GOTO(leave_faulted);
    } else {
      const u8* host = lookup_read<T>(s, A::of(s, op, base));
      if (host == nullptr) [[unlikely]]
        GOTO((alu_mem<kOperation, T, Any, kImmediate>));
      value = load_host<T>(host);
    }
    alu<kOperation, T>(value, operand, flags);
    if constexpr (std::is_same_v<A, Any>)
      NEXT_AFTER_SLOW_ACCESS();
    else
      NEXT();
  } else if constexpr (std::is_same_v<A, Any>) {
    T value;
    u64 va;
    if (!slow_load_for_update(s, op, base, &value, sizeof(T), va)) GOTO(leave_faulted);
    value = alu<kOperation, T>(value, operand, flags);
    if (!slow_store_at(s, op, va, &value, sizeof(T))) GOTO(leave_faulted);
    NEXT_AFTER_SLOW_ACCESS();
  } else {
    u8* host = lookup_write<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((alu_mem<kOperation, T, Any, kImmediate>));
    store_host<T>(host, alu<kOperation, T>(load_host<T>(host), operand, flags));
    NEXT();
  }
}

// LOCK forms work on the host's memory atomically.
template <Alu kOperation, class T>
INTERP_INLINE void locked_alu(u8* host, T b, u64& flags) {
  u64 captured = flags;
#define LOCKED(prefix, name)                                          \
  asm volatile(prefix "lock " name " %[b], %[m]\n\tlahf\n\tseto %%al" \
               : [m] "+m"(*host), [f] "+a"(captured)                  \
               : [b] "r"(b)                                           \
               : "cc", "memory")
  if constexpr (kOperation == Alu::kAdd) LOCKED("", "add");
  if constexpr (kOperation == Alu::kOr) LOCKED("", "or");
  if constexpr (kOperation == Alu::kAdc) LOCKED("sahf\n\t", "adc");
  if constexpr (kOperation == Alu::kSbb) LOCKED("sahf\n\t", "sbb");
  if constexpr (kOperation == Alu::kAnd) LOCKED("", "and");
  if constexpr (kOperation == Alu::kSub) LOCKED("", "sub");
  if constexpr (kOperation == Alu::kXor) LOCKED("", "xor");
#undef LOCKED
  flags = captured;
}

template <Alu kOperation, class T>
INTERP_SLOW bool slow_locked_alu(Interpreter* s, u64 va, T operand, u64& flags) {
  const u64 carry_in = flags;
  T old;
  return update_locked<T>(*s, va, old, [&](T value) {
    flags = carry_in;
    return alu<kOperation, T>(value, operand, flags);
  });
}

template <Alu kOperation, class T, bool kImmediate, class A>
void INTERP_CALL alu_locked(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const T operand = second<T, kImmediate>(s, op);
  if constexpr (std::is_same_v<A, Any>) {
    u64 va;
    if (!operand_address(s, op, base, sizeof(T), true, va)) GOTO(leave_faulted);
    if (u8* host = update_pointer(s, va, sizeof(T))) {
      locked_alu<kOperation, T>(host, operand, flags);
      NEXT();
    }
    if (!slow_locked_alu<kOperation, T>(s, va, operand, flags)) GOTO(leave_faulted);
    NEXT_AFTER_SLOW_ACCESS();
  } else {
    u8* host = lookup_write<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((alu_locked<kOperation, T, kImmediate, Any>));
    locked_alu<kOperation, T>(host, operand, flags);
    NEXT();
  }
}

template <Unary kOperation, class T>
INTERP_INLINE T unary(T a, u64& flags) {
  u64 captured = flags;
  // INC and DEC keep CF.
#define UNARY(name) \
  asm("sahf\n\t" name " %[a]\n\tlahf\n\tseto %%al" : [a] "+r"(a), [f] "+a"(captured) : : "cc")
  if constexpr (kOperation == Unary::kInc) UNARY("inc");
  if constexpr (kOperation == Unary::kDec) UNARY("dec");
  if constexpr (kOperation == Unary::kNeg) UNARY("neg");
  if constexpr (kOperation == Unary::kNot) a = static_cast<T>(~a);
#undef UNARY
  flags = captured;
  return a;
}

template <Unary kOperation, class T>
void INTERP_CALL unary_reg(Interpreter* s, const Op* op, u64 flags, u64 base) {
  set<T>(s, op->destination, unary<kOperation, T>(get<T>(s, op->destination), flags));
  NEXT();
}

template <Unary kOperation, class T, class A>
void INTERP_CALL unary_mem(Interpreter* s, const Op* op, u64 flags, u64 base) {
  if constexpr (std::is_same_v<A, Any>) {
    T value;
    u64 va;
    if (!slow_load_for_update(s, op, base, &value, sizeof(T), va)) GOTO(leave_faulted);
    value = unary<kOperation, T>(value, flags);
    if (!slow_store_at(s, op, va, &value, sizeof(T))) GOTO(leave_faulted);
    NEXT_AFTER_SLOW_ACCESS();
  } else {
    u8* host = lookup_write<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((unary_mem<kOperation, T, Any>));
    store_host<T>(host, unary<kOperation, T>(load_host<T>(host), flags));
    NEXT();
  }
}

template <Unary kOperation, class T>
INTERP_SLOW bool slow_locked_unary(Interpreter* s, u64 va, u64& flags) {
  const u64 carry_in = flags;
  T old;
  return update_locked<T>(*s, va, old, [&](T value) {
    flags = carry_in;
    return unary<kOperation, T>(value, flags);
  });
}

template <Unary kOperation, class T>
INTERP_INLINE void locked_unary(u8* host, u64& flags) {
  T old;
  if constexpr (kOperation == Unary::kInc || kOperation == Unary::kDec) {
    old = locked_add<T>(host, static_cast<T>(kOperation == Unary::kInc ? 1 : -1));
  } else {
    old = locked_update<T>(host, [](T value) {
      u64 unused = 0;
      return unary<kOperation, T>(value, unused);
    });
  }
  unary<kOperation, T>(old, flags);
}

template <Unary kOperation, class T, class A>
void INTERP_CALL unary_locked(Interpreter* s, const Op* op, u64 flags, u64 base) {
  if constexpr (std::is_same_v<A, Any>) {
    u64 va;
    if (!operand_address(s, op, base, sizeof(T), true, va)) GOTO(leave_faulted);
    if (u8* host = update_pointer(s, va, sizeof(T))) {
      locked_unary<kOperation, T>(host, flags);
      NEXT();
    }
    if (!slow_locked_unary<kOperation, T>(s, va, flags)) GOTO(leave_faulted);
    NEXT_AFTER_SLOW_ACCESS();
  } else {
    u8* host = lookup_write<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((unary_locked<kOperation, T, Any>));
    locked_unary<kOperation, T>(host, flags);
    NEXT();
  }
}

template <Shift kOperation, class T>
INTERP_INLINE T shift(T a, u8 count, u64& flags) {
  u64 captured = flags;
  // A masked count of zero leaves the flags alone, as they are loaded into the host's first.
#define SHIFT(name)                                                          \
  asm("addb $0x7f, %%al\n\tsahf\n\t" name " %[c], %[a]\n\tlahf\n\tseto %%al" \
      : [a] "+r"(a), [f] "+a"(captured)                                      \
      : [c] "c"(count)                                                       \
      : "cc")
  if constexpr (kOperation == Shift::kRol) SHIFT("rol");
  if constexpr (kOperation == Shift::kRor) SHIFT("ror");
  if constexpr (kOperation == Shift::kRcl) SHIFT("rcl");
  if constexpr (kOperation == Shift::kRcr) SHIFT("rcr");
  if constexpr (kOperation == Shift::kShl) SHIFT("shl");
  if constexpr (kOperation == Shift::kShr) SHIFT("shr");
  if constexpr (kOperation == Shift::kSar) SHIFT("sar");
#undef SHIFT
  flags = captured;
  return a;
}

template <bool kByCl>
INTERP_INLINE u8 shift_count(Interpreter* s, const Op* op) {
  if constexpr (kByCl)
    return get<u8>(s, x86::kRcx * 8);
  else
    return static_cast<u8>(op->immediate);
}

template <Shift kOperation, class T, bool kByCl>
void INTERP_CALL shift_reg(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u8 count = shift_count<kByCl>(s, op);
  set<T>(s, op->destination, shift<kOperation, T>(get<T>(s, op->destination), count, flags));
  NEXT();
}

// ROL and ROR of a register by an immediate, on processors that leave OF alone unless the count is one.
template <Shift kOperation, class T>
void INTERP_CALL rotate_keeping_overflow(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u8 count = shift_count<false>(s, op);
  const u64 old = flags;
  set<T>(s, op->destination, shift<kOperation, T>(get<T>(s, op->destination), count, flags));
  if ((count & (sizeof(T) == 8 ? 63 : 31)) != 1) flags = (flags & ~kPackedOf) | (old & kPackedOf);
  NEXT();
}

template <Shift kOperation, class T, bool kByCl, class A>
void INTERP_CALL shift_mem(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u8 count = shift_count<kByCl>(s, op);
  if constexpr (std::is_same_v<A, Any>) {
    T value;
    u64 va;
    if (!slow_load_for_update(s, op, base, &value, sizeof(T), va)) GOTO(leave_faulted);
    value = shift<kOperation, T>(value, count, flags);
    if (!slow_store_at(s, op, va, &value, sizeof(T))) GOTO(leave_faulted);
    NEXT_AFTER_SLOW_ACCESS();
  } else {
    u8* host = lookup_write<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((shift_mem<kOperation, T, kByCl, Any>));
    store_host<T>(host, shift<kOperation, T>(load_host<T>(host), count, flags));
    NEXT();
  }
}

template <class T>
INTERP_INLINE T multiply(T a, T b, u64& flags) {
  u64 captured = flags;
  // The undefined flags are the old ones on AMD's processors.
  asm("addb $0x7f, %%al\n\tsahf\n\timul %[b], %[a]\n\tlahf\n\tseto %%al"
      : [a] "+r"(a), [f] "+&a"(captured)
      : [b] "r"(b)
      : "cc");
  flags = captured;
  return a;
}

// IMUL with two or three operands: destination = source * (immediate or destination).
template <class T, class A, bool kImmediate>
void INTERP_CALL imul(Interpreter* s, const Op* op, u64 flags, u64 base) {
  T a;
  if constexpr (std::is_same_v<A, InRegister>) {
    a = get<T>(s, op->source);
  } else if constexpr (std::is_same_v<A, Any>) {
    if (!slow_load(s, op, base, &a, sizeof(T))) GOTO(leave_faulted);
  } else {
    const u8* host = lookup_read<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((imul<T, Any, kImmediate>));
    a = load_host<T>(host);
  }
  const T b = kImmediate ? static_cast<T>(op->immediate) : get<T>(s, op->destination);
  set<T>(s, op->destination, multiply<T>(b, a, flags));
  if constexpr (std::is_same_v<A, Any>)
    NEXT_AFTER_SLOW_ACCESS();
  else
    NEXT();
}

template <Alu kOperation>
Handler select_one_alu(unsigned width, Form form, AddressKind kind) {
  return by_width(width, [&]<class T>() -> Handler {
    switch (form) {
      case Form::kRegReg:
        return &alu_reg_reg<kOperation, T>;
      case Form::kRegImm:
        return &alu_reg_imm<kOperation, T>;
      case Form::kRegMem:
        return by_address(kind, []<class A>() -> Handler { return &alu_reg_mem<kOperation, T, A>; });
      case Form::kMemReg:
        return by_address(kind, []<class A>() -> Handler { return &alu_mem<kOperation, T, A, false>; });
      default:
        return by_address(kind, []<class A>() -> Handler { return &alu_mem<kOperation, T, A, true>; });
    }
  });
}

template <Alu kOperation>
Handler select_one_locked(unsigned width, Form form, AddressKind kind) {
  return by_width(width, [&]<class T>() -> Handler {
    if (kind == AddressKind::kAny) {
      if (form == Form::kMemImm) return &alu_locked<kOperation, T, true, Any>;
      return &alu_locked<kOperation, T, false, Any>;
    }
    if (form == Form::kMemImm) return &alu_locked<kOperation, T, true, Flat>;
    return &alu_locked<kOperation, T, false, Flat>;
  });
}

template <Unary kOperation>
Handler select_one_unary(unsigned width, AddressKind kind, bool has_lock) {
  return by_width(width, [&]<class T>() -> Handler {
    if (kind == AddressKind::kNone) return &unary_reg<kOperation, T>;
    if (has_lock && kind == AddressKind::kAny) return &unary_locked<kOperation, T, Any>;
    if (has_lock) return &unary_locked<kOperation, T, Flat>;
    return by_address(kind, []<class A>() -> Handler { return &unary_mem<kOperation, T, A>; });
  });
}

template <Shift kOperation>
Handler select_one_shift(unsigned width, AddressKind kind, bool by_cl) {
  return by_width(width, [&]<class T>() -> Handler {
    if (kind == AddressKind::kAny)
      return by_cl ? &shift_mem<kOperation, T, true, Any> : &shift_mem<kOperation, T, false, Any>;
    if (kind != AddressKind::kNone)
      return by_cl ? &shift_mem<kOperation, T, true, Flat> : &shift_mem<kOperation, T, false, Flat>;
    if constexpr (kOperation == Shift::kRol || kOperation == Shift::kRor) {
      if (!by_cl && host_keeps_overflow_in_rotations()) return &rotate_keeping_overflow<kOperation, T>;
    }
    return by_cl ? &shift_reg<kOperation, T, true> : &shift_reg<kOperation, T, false>;
  });
}

}  // namespace

Handler select_alu(Alu operation, unsigned width, Form form, AddressKind kind) {
  switch (operation) {
    case Alu::kAdd:
      return select_one_alu<Alu::kAdd>(width, form, kind);
    case Alu::kOr:
      return select_one_alu<Alu::kOr>(width, form, kind);
    case Alu::kAdc:
      return select_one_alu<Alu::kAdc>(width, form, kind);
    case Alu::kSbb:
      return select_one_alu<Alu::kSbb>(width, form, kind);
    case Alu::kAnd:
      return select_one_alu<Alu::kAnd>(width, form, kind);
    case Alu::kSub:
      return select_one_alu<Alu::kSub>(width, form, kind);
    case Alu::kXor:
      return select_one_alu<Alu::kXor>(width, form, kind);
    case Alu::kCmp:
      return select_one_alu<Alu::kCmp>(width, form, kind);
    case Alu::kTest:
      return select_one_alu<Alu::kTest>(width, form, kind);
  }
  return nullptr;
}

Handler select_alu_locked(Alu operation, unsigned width, Form form, AddressKind kind) {
  switch (operation) {
    case Alu::kAdd:
      return select_one_locked<Alu::kAdd>(width, form, kind);
    case Alu::kOr:
      return select_one_locked<Alu::kOr>(width, form, kind);
    case Alu::kAdc:
      return select_one_locked<Alu::kAdc>(width, form, kind);
    case Alu::kSbb:
      return select_one_locked<Alu::kSbb>(width, form, kind);
    case Alu::kAnd:
      return select_one_locked<Alu::kAnd>(width, form, kind);
    case Alu::kSub:
      return select_one_locked<Alu::kSub>(width, form, kind);
    case Alu::kXor:
      return select_one_locked<Alu::kXor>(width, form, kind);
    default:
      return nullptr;
  }
}

Handler select_unary(Unary operation, unsigned width, AddressKind kind, bool has_lock) {
  switch (operation) {
    case Unary::kInc:
      return select_one_unary<Unary::kInc>(width, kind, has_lock);
    case Unary::kDec:
      return select_one_unary<Unary::kDec>(width, kind, has_lock);
    case Unary::kNeg:
      return select_one_unary<Unary::kNeg>(width, kind, has_lock);
    case Unary::kNot:
      return select_one_unary<Unary::kNot>(width, kind, has_lock);
  }
  return nullptr;
}

Handler select_shift(Shift operation, unsigned width, AddressKind kind, bool by_cl) {
  switch (operation) {
    case Shift::kRol:
      return select_one_shift<Shift::kRol>(width, kind, by_cl);
    case Shift::kRor:
      return select_one_shift<Shift::kRor>(width, kind, by_cl);
    case Shift::kRcl:
      return select_one_shift<Shift::kRcl>(width, kind, by_cl);
    case Shift::kRcr:
      return select_one_shift<Shift::kRcr>(width, kind, by_cl);
    case Shift::kShl:
      return select_one_shift<Shift::kShl>(width, kind, by_cl);
    case Shift::kShr:
      return select_one_shift<Shift::kShr>(width, kind, by_cl);
    case Shift::kSar:
      return select_one_shift<Shift::kSar>(width, kind, by_cl);
  }
  return nullptr;
}

Handler select_imul(unsigned width, AddressKind kind, bool has_immediate) {
  return by_width(width, [&]<class T>() -> Handler {
    if constexpr (sizeof(T) == 1) {
      return nullptr;
    } else {
      return by_place(
          kind, [&]<class A>() -> Handler { return has_immediate ? &imul<T, A, true> : &imul<T, A, false>; });
    }
  });
}

}  // namespace doppel::interp
