// Handlers of vector instructions: moves done here, everything else by its borrowed stub without the generic
// path.
#include <Zydis/Mnemonic.h>

#include <type_traits>

#include "engine/interp/borrowed_stub.h"
#include "engine/interp/handlers.h"

namespace doppel::interp {
namespace {

constexpr u32 kMxcsrMasks = 0x1f80;

// A 16-byte value as the compiler moves it.
using Vector = u64 __attribute__((vector_size(16)));

INTERP_INLINE Vector& xmm(Interpreter* s, u8 index) {
  return *reinterpret_cast<Vector*>(&s->state.ymm[index]);
}

INTERP_INLINE bool has_sse(const Interpreter* s) { return (s->vector_gate & kGateSse) != 0; }

// MOVAPS, MOVUPS and their kin between registers.
void INTERP_CALL move_registers(Interpreter* s, const Op* op, u64 flags, u64 base) {
  if (!has_sse(s)) [[unlikely]]
    GOTO(call_semantic);
  xmm(s, op->destination) = xmm(s, op->source);
  NEXT();
}

template <class A, bool kAligned>
void INTERP_CALL load_vector(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u64 va = A::of(s, op, base);
  const u8* host = lookup_read<Vector>(s, va);
  if (host == nullptr || !has_sse(s) || (kAligned && (va & 15) != 0)) [[unlikely]]
    GOTO(call_semantic);
  xmm(s, op->destination) = load_host<Vector>(host);
  NEXT();
}

template <class A, bool kAligned>
void INTERP_CALL store_vector(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u64 va = A::of(s, op, base);
  u8* host = lookup_write<Vector>(s, va);
  if (host == nullptr || !has_sse(s) || (kAligned && (va & 15) != 0)) [[unlikely]]
    GOTO(call_semantic);
  store_host<Vector>(host, xmm(s, op->source));
  NEXT();
}

// MOVSS, MOVSD, MOVD, MOVQ from memory: the rest of the register becomes zero.
template <class T, class A>
void INTERP_CALL load_scalar(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u8* host = lookup_read<T>(s, A::of(s, op, base));
  if (host == nullptr || !has_sse(s)) [[unlikely]]
    GOTO(call_semantic);
  xmm(s, op->destination) = Vector{load_host<T>(host), 0};
  NEXT();
}

template <class T, class A>
void INTERP_CALL store_scalar(Interpreter* s, const Op* op, u64 flags, u64 base) {
  u8* host = lookup_write<T>(s, A::of(s, op, base));
  if (host == nullptr || !has_sse(s)) [[unlikely]]
    GOTO(call_semantic);
  store_host<T>(host, static_cast<T>(xmm(s, op->source)[0]));
  NEXT();
}

// May the stub run as it is? Not while the guest waits for SIMD exceptions.
INTERP_INLINE bool is_plain(const Interpreter* s, const Op* op) {
  const bool is_enabled = (s->vector_gate & op->width) == op->width;
  return is_enabled && (s->state.fx.mxcsr & kMxcsrMasks) == kMxcsrMasks;
}

INTERP_INLINE void run_plain(Interpreter* s, const Op* op, void* memory, u64& flags, bool has_flags) {
  if (!has_flags) return op->insn->stub->entry(&s->state, memory, nullptr);
  u64 rflags = unpack_flags(flags) | x86::kFlagReserved1;
  op->insn->stub->entry(&s->state, memory, &rflags);
  flags = pack_flags(rflags);
}

template <bool kFlags>
void INTERP_CALL stub_registers(Interpreter* s, const Op* op, u64 flags, u64 base) {
  if (!is_plain(s, op)) [[unlikely]]
    GOTO(call_semantic);
  run_plain(s, op, nullptr, flags, kFlags);
  NEXT();
}

template <class A, bool kFlags, bool kWrites>
void INTERP_CALL stub_memory(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u64 va = A::of(s, op, base);
  const BorrowedStub& stub = *op->insn->stub;
  const TlbSide& side = kWrites ? s->tlb->write : s->tlb->read;
  u8* host = side.find(va, stub.memory_size);
  if (host == nullptr || !is_plain(s, op) || (va & (stub.alignment - 1u)) != 0) [[unlikely]]
    GOTO(call_semantic);
  run_plain(s, op, host, flags, kFlags);
  NEXT();
}

// Scalar arithmetic in the commonest case: default control bits, inexact already recorded, and finite normal
// numbers all around, so that no exception flag can change. Anything else goes through the stub. SDM 1 11.5.
enum class Scalar : u8 { kAdd, kSub, kMul, kDiv };
constexpr u32 kMxcsrInexactDefault = 0x1fa0;

INTERP_INLINE bool is_normal(double value) {
  return (bits(__builtin_bit_cast(u64, value), 52, 11) - 1) < 0x7fe;
}
INTERP_INLINE bool is_normal(float value) { return (bits(__builtin_bit_cast(u32, value), 23, 8) - 1) < 0xfe; }

template <Scalar kOperation, class T>
INTERP_INLINE T scalar(T a, T b) {
  if constexpr (kOperation == Scalar::kAdd) return a + b;
  if constexpr (kOperation == Scalar::kSub) return a - b;
  if constexpr (kOperation == Scalar::kMul) return a * b;
  if constexpr (kOperation == Scalar::kDiv) return a / b;
}

template <Scalar kOperation, class T, class A>
void INTERP_CALL scalar_operation(Interpreter* s, const Op* op, u64 flags, u64 base) {
  constexpr bool kMemory = !std::is_same_v<A, Any>;
  T b;
  if constexpr (kMemory) {
    const u8* host = lookup_read<T>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO(call_semantic);
    b = load_host<T>(host);
  } else {
    b = load_host<T>(reinterpret_cast<const u8*>(&xmm(s, op->source)));
  }
  u8* destination = reinterpret_cast<u8*>(&xmm(s, op->destination));
  const T a = load_host<T>(destination);
  const T result = scalar<kOperation, T>(a, b);
  const bool is_common =
      s->state.fx.mxcsr == kMxcsrInexactDefault && is_normal(a) && is_normal(b) && is_normal(result);
  if (!is_common || !has_sse(s)) [[unlikely]] {
    if constexpr (kMemory)
      GOTO((stub_memory<A, false, false>));
    else
      GOTO(stub_registers<false>);
  }
  store_host<T>(destination, result);
  NEXT();
}

template <Scalar kOperation, class T>
Handler select_one_scalar(AddressKind kind) {
  if (kind == AddressKind::kNone) return &scalar_operation<kOperation, T, Any>;
  return by_address(kind, []<class A>() -> Handler { return &scalar_operation<kOperation, T, A>; });
}

Handler select_scalar(u16 mnemonic, AddressKind kind) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_ADDSD:
      return select_one_scalar<Scalar::kAdd, double>(kind);
    case ZYDIS_MNEMONIC_SUBSD:
      return select_one_scalar<Scalar::kSub, double>(kind);
    case ZYDIS_MNEMONIC_MULSD:
      return select_one_scalar<Scalar::kMul, double>(kind);
    case ZYDIS_MNEMONIC_DIVSD:
      return select_one_scalar<Scalar::kDiv, double>(kind);
    case ZYDIS_MNEMONIC_ADDSS:
      return select_one_scalar<Scalar::kAdd, float>(kind);
    case ZYDIS_MNEMONIC_SUBSS:
      return select_one_scalar<Scalar::kSub, float>(kind);
    case ZYDIS_MNEMONIC_MULSS:
      return select_one_scalar<Scalar::kMul, float>(kind);
    case ZYDIS_MNEMONIC_DIVSS:
      return select_one_scalar<Scalar::kDiv, float>(kind);
    default:
      return nullptr;
  }
}

// The moves that need no stub.
enum class Move : u8 { kNone, kAligned, kUnaligned, kScalar4, kScalar8 };

Move move_of(u16 mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVAPS:
    case ZYDIS_MNEMONIC_MOVAPD:
    case ZYDIS_MNEMONIC_MOVDQA:
      return Move::kAligned;
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
      return Move::kUnaligned;
    case ZYDIS_MNEMONIC_MOVSS:
      return Move::kScalar4;
    case ZYDIS_MNEMONIC_MOVSD:
      return Move::kScalar8;
    default:
      return Move::kNone;
  }
}

template <class A>
Handler select_move(Move move, bool is_load) {
  switch (move) {
    case Move::kAligned:
      return is_load ? &load_vector<A, true> : &store_vector<A, true>;
    case Move::kUnaligned:
      return is_load ? &load_vector<A, false> : &store_vector<A, false>;
    case Move::kScalar4:
      return is_load ? &load_scalar<u32, A> : &store_scalar<u32, A>;
    default:
      return is_load ? &load_scalar<u64, A> : &store_scalar<u64, A>;
  }
}

}  // namespace

Handler select_vector(const Insn& insn, AddressKind kind) {
  if (insn.stub == nullptr || kind == AddressKind::kAny) return nullptr;
  const bool has_memory = kind != AddressKind::kNone;
  const BorrowedStub& stub = *insn.stub;
  if (stub.uses_x87 || stub.uses_mmx || stub.is_masked || !(stub.uses_sse || stub.uses_avx)) return nullptr;
  const bool is_legacy = stub.uses_sse && !stub.uses_avx;
  const Move move = is_legacy ? move_of(insn.mnemonic) : Move::kNone;
  if (move != Move::kNone) {
    const bool is_load = insn.operands[1].kind == OperandKind::kMemory;
    const bool is_full = move == Move::kAligned || move == Move::kUnaligned;
    if (!has_memory && is_full) return &move_registers;
    if (has_memory) {
      return by_address(kind, [&]<class A>() -> Handler {
        if constexpr (std::is_same_v<A, Any>)
          return nullptr;
        else
          return select_move<A>(move, is_load);
      });
    }
  }
  if (const Handler handler = select_scalar(insn.mnemonic, kind)) return handler;
  const bool has_flags = stub.reads_flags || stub.writes_flags;
  if (!has_memory) return has_flags ? &stub_registers<true> : &stub_registers<false>;
  return by_address(kind, [&]<class A>() -> Handler {
    if constexpr (std::is_same_v<A, Any>) {
      return nullptr;
    } else {
      if (stub.writes_memory) return has_flags ? &stub_memory<A, true, true> : &stub_memory<A, false, true>;
      return has_flags ? &stub_memory<A, true, false> : &stub_memory<A, false, false>;
    }
  });
}

}  // namespace doppel::interp
