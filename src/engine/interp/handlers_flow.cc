// Handlers that end a trace: branches, calls, returns and falling through, for 64-bit code.
#include <type_traits>

#include "engine/interp/handlers_branch.h"

namespace doppel::interp {
namespace {

void INTERP_CALL fall_through(Interpreter* s, const Op* op, u64 flags, u64 base) {
  base += op->offset;
  FOLLOW(links_of(op).next);
}

void INTERP_CALL jump(Interpreter* s, const Op* op, u64 flags, u64 base) {
  base += op->displacement;
  FOLLOW(links_of(op).taken);
}

INTERP_SLOW bool push_return_slow(Interpreter* s, const Op* op, u64 base) {
  s->remaining_in_trace = op->remaining;
  return s->push(base + op->offset + op->length, 8);
}

void INTERP_CALL call_slow_path(Interpreter* s, const Op* op, u64 flags, u64 base) {
  if (!push_return_slow(s, op, base)) GOTO(leave_faulted);
  base += op->displacement;
  GOTO(leave_at);
}

void INTERP_CALL call(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u64 va = s->state.gpr[x86::kRsp] - 8;
  u8* host = lookup_write<u64>(s, va);
  if (host == nullptr) [[unlikely]]
    GOTO(call_slow_path);
  store_host<u64>(host, base + op->offset + op->length);
  s->state.gpr[x86::kRsp] = va;
  base += op->displacement;
  FOLLOW(links_of(op).taken);
}

INTERP_SLOW bool pop_return_slow(Interpreter* s, const Op* op, u64& target) {
  s->remaining_in_trace = op->remaining;
  const u64 rsp = s->state.gpr[x86::kRsp];
  if (!s->pop(target, 8)) return false;
  if (!s->is_canonical(target)) {
    s->state.gpr[x86::kRsp] = rsp;
    return s->raise(x86::kVectorGp, 0);
  }
  s->state.gpr[x86::kRsp] += op->immediate;
  return true;
}

void INTERP_CALL return_slow_path(Interpreter* s, const Op* op, u64 flags, u64 base) {
  u64 target;
  if (!pop_return_slow(s, op, target)) GOTO(leave_faulted);
  base = target;
  GOTO(leave_at);
}

void INTERP_CALL return_near(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u64 rsp = s->state.gpr[x86::kRsp];
  const u8* host = lookup_read<u64>(s, rsp);
  if (host == nullptr) [[unlikely]]
    GOTO(return_slow_path);
  const u64 target = load_host<u64>(host);
  const Interpreter::JumpEntry& entry = s->jump_cache[Interpreter::jump_index(target)];
  if (entry.rip != target || entry.epoch != s->link_epoch) [[unlikely]]
    GOTO(return_slow_path);
  s->state.gpr[x86::kRsp] = rsp + 8 + op->immediate;
  base = target;
  ENTER(entry.trace);
}

// JMP or CALL through a register or memory.
template <class A>
INTERP_SLOW bool indirect_slow(Interpreter* s, const Op* op, u64 base, bool is_call, u64& target) {
  s->remaining_in_trace = op->remaining;
  if constexpr (std::is_same_v<A, InRegister>) {
    target = get<u64>(s, op->source);
  } else {
    if (!slow_load(s, op, base, &target, 8)) return false;
  }
  if (!s->is_canonical(target)) return s->raise(x86::kVectorGp, 0);
  return !is_call || s->push(base + op->offset + op->length, 8);
}

template <bool kCall, class A>
void INTERP_CALL indirect_slow_path(Interpreter* s, const Op* op, u64 flags, u64 base) {
  u64 target;
  if (!indirect_slow<A>(s, op, base, kCall, target)) GOTO(leave_faulted);
  base = target;
  GOTO(leave_at);
}

template <bool kCall, class A>
void INTERP_CALL indirect(Interpreter* s, const Op* op, u64 flags, u64 base) {
  u64 target;
  if constexpr (std::is_same_v<A, InRegister>) {
    target = get<u64>(s, op->source);
  } else {
    const u8* host = lookup_read<u64>(s, A::of(s, op, base));
    if (host == nullptr) [[unlikely]]
      GOTO((indirect_slow_path<kCall, Any>));
    target = load_host<u64>(host);
  }
  const Interpreter::JumpEntry& entry = s->jump_cache[Interpreter::jump_index(target)];
  if (entry.rip != target || entry.epoch != s->link_epoch) [[unlikely]]
    GOTO((indirect_slow_path<kCall, A>));
  if constexpr (kCall) {
    const u64 va = s->state.gpr[x86::kRsp] - 8;
    u8* host = lookup_write<u64>(s, va);
    if (host == nullptr) [[unlikely]]
      GOTO((indirect_slow_path<kCall, A>));
    store_host<u64>(host, base + op->offset + op->length);
    s->state.gpr[x86::kRsp] = va;
  }
  base = target;
  ENTER(entry.trace);
}

}  // namespace

Handler select_jcc(unsigned code) {
  static constexpr auto kHandlers = []<unsigned... kCodes>(std::integer_sequence<unsigned, kCodes...>) {
    return std::array<Handler, 16>{&jcc<kCodes>...};
  }(std::make_integer_sequence<unsigned, 16>());
  return kHandlers[code];
}

Handler select_jump() { return &jump; }
Handler select_call() { return &call; }
Handler select_return() { return &return_near; }
Handler select_indirect(bool is_call, AddressKind kind) {
  return by_place(kind, [&]<class A>() -> Handler {
    if constexpr (std::is_same_v<A, Any>)
      return is_call ? &indirect_slow_path<true, A> : &indirect_slow_path<false, A>;
    else
      return is_call ? &indirect<true, A> : &indirect<false, A>;
  });
}
Handler select_fall_through() { return &fall_through; }

}  // namespace doppel::interp
