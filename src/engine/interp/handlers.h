// What all handler files share: register and memory access, flag capture, and leaving a trace.
#pragma once

#include "engine/interp/interpreter.h"
#include "engine/interp/op.h"
#include "engine/interp/trace.h"

namespace doppel::interp {

#define INTERP_INLINE [[gnu::always_inline]] inline
#define INTERP_SLOW [[gnu::noinline, gnu::cold]]
#define NEXT() [[clang::musttail]] return op[1].handler(s, op + 1, flags, base)
#define GOTO(function) [[clang::musttail]] return function(s, op, flags, base)

// --- Ways out of a trace (dispatch.cc)

// The op faulted; the exception is recorded.
void INTERP_CALL leave_faulted(Interpreter* s, const Op* op, u64 flags, u64 base);
// The op is complete; execution continues behind it, through the dispatcher.
void INTERP_CALL leave_after(Interpreter* s, const Op* op, u64 flags, u64 base);
// The trace ended and `base` is the next RIP.
void INTERP_CALL leave_at(Interpreter* s, const Op* op, u64 flags, u64 base);
// As leave_at, when the trace at `base` was charged for but not run; `op` is its first.
void INTERP_CALL leave_unentered(Interpreter* s, const Op* op, u64 flags, u64 base);
// First op of a trace whose code was overwritten.
void INTERP_CALL enter_dead(Interpreter* s, const Op* op, u64 flags, u64 base);
// Calls the semantic function in op->insn.
void INTERP_CALL call_semantic(Interpreter* s, const Op* op, u64 flags, u64 base);

// --- Registers

template <class T>
INTERP_INLINE T& raw_register(Interpreter* s, u8 offset) {
  return *reinterpret_cast<T*>(reinterpret_cast<u8*>(s) + offset);
}
template <class T>
INTERP_INLINE T get(Interpreter* s, u8 offset) {
  return raw_register<T>(s, offset);
}
// 32-bit results clear the upper half. SDM 1 3.4.1.1.
template <class T>
INTERP_INLINE void set(Interpreter* s, u8 offset, T value) {
  if constexpr (sizeof(T) == 4) {
    raw_register<u64>(s, offset) = value;
  } else {
    raw_register<T>(s, offset) = value;
  }
}
INTERP_INLINE u64 slot_value(Interpreter* s, u8 slot) { return reinterpret_cast<u64*>(s)[slot]; }

// --- Effective addresses, one type for each AddressKind

struct BaseDisp {
  INTERP_INLINE static u64 of(Interpreter* s, const Op* op, u64) {
    return slot_value(s, op->base) + op->displacement;
  }
};
struct BaseIndex {
  INTERP_INLINE static u64 of(Interpreter* s, const Op* op, u64) {
    return slot_value(s, op->base) + (slot_value(s, op->index) << op->scale) + op->displacement;
  }
};
struct RipRelative {
  INTERP_INLINE static u64 of(Interpreter*, const Op* op, u64 base) { return base + op->displacement; }
};
struct SegmentBased {
  INTERP_INLINE static u64 of(Interpreter* s, const Op* op, u64) {
    return slot_value(s, op->base) + (slot_value(s, op->index) << op->scale) + op->displacement +
           s->state.segments[op->segment].base;
  }
};
struct SegmentRelative {
  INTERP_INLINE static u64 of(Interpreter* s, const Op* op, u64 base) {
    return base + op->displacement + s->state.segments[op->segment].base;
  }
};
// Each of the forms above, told apart at run time: for instructions too rare for a handler of each.
struct Flat {
  INTERP_INLINE static u64 of(Interpreter* s, const Op* op, u64 base) {
    u64 address = slot_value(s, op->base) + (slot_value(s, op->index) << op->scale) + op->displacement;
    if ((op->address_mode & kAddressRipRelative) != 0) address += base;
    if (op->segment >= x86::kFs) address += s->state.segments[op->segment].base;
    return address;
  }
};
// Everything by out-of-line calls: all modes, limits, page crossings, devices, faults.
struct Any {};
// No address: the operand is a register.
struct InRegister {};

// Offset within the segment for any address form and size.
INTERP_INLINE u64 any_offset(Interpreter* s, const Op* op, u64 base) {
  u64 offset = slot_value(s, op->base) + (slot_value(s, op->index) << op->scale) + op->displacement;
  if ((op->address_mode & kAddressRipRelative) != 0) offset += base;
  if ((op->address_mode & kAddressRipFar) != 0) offset += op->offset + op->length;
  switch (op->address_mode & kAddressSizeMask) {
    case kAddress16:
      return offset & 0xffff;
    case kAddress32:
      return offset & 0xffffffff;
    default:
      return offset;
  }
}

// --- Memory

template <class T>
INTERP_INLINE u8* lookup_read(Interpreter* s, u64 va) {
  const TlbSide& side = s->tlb->read;
  const unsigned index = tlb_index(va);
  if (va + side.tags[index] > kPageSize - sizeof(T)) [[unlikely]]
    return nullptr;
  u8* host = reinterpret_cast<u8*>(va + side.addends[index]);
  __builtin_assume(host != nullptr);
  return host;
}
template <class T>
INTERP_INLINE u8* lookup_write(Interpreter* s, u64 va) {
  const TlbSide& side = s->tlb->write;
  const unsigned index = tlb_index(va);
  if (va + side.tags[index] > kPageSize - sizeof(T)) [[unlikely]]
    return nullptr;
  u8* host = reinterpret_cast<u8*>(va + side.addends[index]);
  __builtin_assume(host != nullptr);
  return host;
}
template <class T>
INTERP_INLINE T load_host(const u8* host) {
  T value;
  __builtin_memcpy(&value, host, sizeof(T));
  return value;
}
template <class T>
INTERP_INLINE void store_host(u8* host, T value) {
  __builtin_memcpy(host, &value, sizeof(T));
}

// The slow path of a memory operand: false after recording a fault. `va` is kept for a following slow_store.
bool slow_load(Interpreter* s, const Op* op, u64 base, void* out, unsigned size);
bool slow_store(Interpreter* s, const Op* op, u64 base, const void* data, unsigned size);
// Read-modify-write: checks the write first, so that nothing happens when it faults. SDM 3A 4.7 (W/R flag).
bool slow_load_for_update(Interpreter* s, const Op* op, u64 base, void* out, unsigned size, u64& va);
bool slow_store_at(Interpreter* s, const Op* op, u64 va, const void* data, unsigned size);
// For LOCK: a host pointer to write through, or nullptr when the operand is not plain RAM on one page.
u8* update_pointer(Interpreter* s, u64 va, unsigned size);
// Linear address of a memory operand of any kind.
bool operand_address(Interpreter* s, const Op* op, u64 base, unsigned size, bool is_write, u64& va);

// Behind an access that took the slow path. A store may have hit the code being executed; then the rest of
// the trace is stale. And a device may have raised an interrupt or want the slice to end: both come right
// behind the instruction, wherever traces end, so that every engine sees them at the same one.
#define NEXT_AFTER_SLOW_ACCESS()                                                                      \
  do {                                                                                                \
    if (s->trace_was_invalidated() || s->attention.load(std::memory_order_relaxed) != 0) [[unlikely]] \
      GOTO(leave_after);                                                                              \
    NEXT();                                                                                           \
  } while (false)

// --- Arithmetic with flag capture: the host's own instruction, then LAHF and SETO.

enum class Alu : u8 { kAdd, kOr, kAdc, kSbb, kAnd, kSub, kXor, kCmp, kTest };

#define INTERP_ALU(name) \
  asm(name " %[b], %[a]\n\tlahf\n\tseto %%al" : [a] "+r"(a), [f] "=&a"(captured) : [b] "r"(b) : "cc")
#define INTERP_ALU_CARRY(name)                           \
  asm("sahf\n\t" name " %[b], %[a]\n\tlahf\n\tseto %%al" \
      : [a] "+r"(a), [f] "+a"(captured)                  \
      : [b] "r"(b)                                       \
      : "cc")

template <Alu kOperation, class T>
INTERP_INLINE T alu(T a, T b, u64& flags) {
  u64 captured = flags;
  if constexpr (kOperation == Alu::kAdd) INTERP_ALU("add");
  if constexpr (kOperation == Alu::kOr) INTERP_ALU("or");
  if constexpr (kOperation == Alu::kAdc) INTERP_ALU_CARRY("adc");
  if constexpr (kOperation == Alu::kSbb) INTERP_ALU_CARRY("sbb");
  if constexpr (kOperation == Alu::kAnd) INTERP_ALU("and");
  if constexpr (kOperation == Alu::kSub) INTERP_ALU("sub");
  if constexpr (kOperation == Alu::kXor) INTERP_ALU("xor");
  if constexpr (kOperation == Alu::kCmp) INTERP_ALU("cmp");
  if constexpr (kOperation == Alu::kTest) INTERP_ALU("test");
  flags = captured;
  return a;
}

constexpr bool writes_result(Alu operation) { return operation != Alu::kCmp && operation != Alu::kTest; }

// Condition codes in the encoding of Jcc. SDM 1 appendix B.
template <unsigned kCode>
INTERP_INLINE bool condition(u64 flags) {
  constexpr unsigned kBase = kCode & ~1u;
  bool result;
  if constexpr (kBase == 0) result = (flags & kPackedOf) != 0;
  if constexpr (kBase == 2) result = (flags & kPackedCf) != 0;
  if constexpr (kBase == 4) result = (flags & kPackedZf) != 0;
  if constexpr (kBase == 6) result = (flags & (kPackedCf | kPackedZf)) != 0;
  if constexpr (kBase == 8) result = (flags & kPackedSf) != 0;
  if constexpr (kBase == 10) result = (flags & kPackedPf) != 0;
  if constexpr (kBase == 12) result = ((flags >> 15 ^ flags) & 1) != 0;
  if constexpr (kBase == 14) result = (((flags >> 15 ^ flags) & 1) | (flags & kPackedZf)) != 0;
  return (kCode & 1) != 0 ? !result : result;
}

// --- Selection of a template instance at decode time

template <class F>
Handler by_width(unsigned bytes, F f) {
  switch (bytes) {
    case 1:
      return f.template operator()<u8>();
    case 2:
      return f.template operator()<u16>();
    case 4:
      return f.template operator()<u32>();
    default:
      return f.template operator()<u64>();
  }
}
template <class F>
Handler by_address(AddressKind kind, F f) {
  switch (kind) {
    case AddressKind::kBaseDisp:
      return f.template operator()<BaseDisp>();
    case AddressKind::kBaseIndex:
      return f.template operator()<BaseIndex>();
    case AddressKind::kRipRelative:
      return f.template operator()<RipRelative>();
    case AddressKind::kSegment:
      return f.template operator()<SegmentBased>();
    case AddressKind::kSegmentRelative:
      return f.template operator()<SegmentRelative>();
    default:
      return f.template operator()<Any>();
  }
}

// For rare instructions: InRegister, Flat or Any.
template <class F>
Handler by_place(AddressKind kind, F f) {
  switch (kind) {
    case AddressKind::kNone:
      return f.template operator()<InRegister>();
    case AddressKind::kAny:
      return f.template operator()<Any>();
    default:
      return f.template operator()<Flat>();
  }
}

// Shapes of a two-operand instruction.
enum class Form : u8 { kRegReg, kRegImm, kRegMem, kMemReg, kMemImm };

// nullptr: no specialised handler; use the semantic table.
Handler select_alu(Alu operation, unsigned width, Form form, AddressKind kind);
Handler select_alu_locked(Alu operation, unsigned width, Form form, AddressKind kind);
enum class Unary : u8 { kInc, kDec, kNeg, kNot };
Handler select_unary(Unary operation, unsigned width, AddressKind kind, bool has_lock);
enum class Shift : u8 { kRol, kRor, kRcl, kRcr, kShl, kShr, kSar };
Handler select_shift(Shift operation, unsigned width, AddressKind kind, bool by_cl);
Handler select_mov(unsigned width, Form form, AddressKind kind);
Handler select_extend(bool is_signed, unsigned to, unsigned from, AddressKind kind);
Handler select_lea(unsigned width, AddressKind kind);
Handler select_cmov(unsigned code, unsigned width, AddressKind kind);
Handler select_setcc(unsigned code, AddressKind kind);
Handler select_imul(unsigned width, AddressKind kind, bool has_immediate);
Handler select_jcc(unsigned code);
// For a CMP or TEST whose next op is a Jcc with `code`; nullptr when there is none.
Handler select_compare_and_branch(Alu operation, unsigned width, Form form, unsigned code);
Handler select_jump();
Handler select_call();
Handler select_return();
Handler select_indirect(bool is_call, AddressKind kind);
Handler select_push(bool is_immediate);
Handler select_pop();
Handler select_nop();
Handler select_xchg_registers(unsigned width);
// For instructions whose semantic row or borrowed stub is in op->insn: the handler that skips the generic
// path when the operand is at hand and nothing is unusual.
Handler select_vector(const Insn& insn, AddressKind kind);
// May fill the operand fields of `op` for its handler.
Handler select_exchange(Op& op, const Insn& insn, AddressKind kind);
// Ends a trace that ran into its length limit or the end of the page.
Handler select_fall_through();

}  // namespace doppel::interp
