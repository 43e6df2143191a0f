// Handlers that end a trace: branches, calls, returns and falling through, for 64-bit code.
#include "engine/interp/handlers_branch.h"

namespace doppel::interp {
namespace {

// Continues at the virtual address in `base`.
#define JUMP_INDIRECT()                                                                 \
  do {                                                                                  \
    const Interpreter::JumpEntry& entry = s->jump_cache[Interpreter::jump_index(base)]; \
    if (entry.rip != base || entry.epoch != s->link_epoch) [[unlikely]]                 \
      GOTO(leave_at);                                                                   \
    ENTER(entry.trace);                                                                 \
  } while (false)

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
template <bool kMemory>
INTERP_SLOW bool indirect_slow(Interpreter* s, const Op* op, u64 base, bool is_call, u64& target) {
  s->remaining_in_trace = op->remaining;
  if constexpr (kMemory) {
    if (!slow_load(s, op, base, &target, 8)) return false;
  } else {
    target = get<u64>(s, op->source);
  }
  if (!s->is_canonical(target)) return s->raise(x86::kVectorGp, 0);
  return !is_call || s->push(base + op->offset + op->length, 8);
}

template <bool kCall, bool kMemory>
void INTERP_CALL indirect_slow_path(Interpreter* s, const Op* op, u64 flags, u64 base) {
  u64 target;
  if (!indirect_slow<kMemory>(s, op, base, kCall, target)) GOTO(leave_faulted);
  base = target;
  GOTO(leave_at);
}

template <bool kCall>
void INTERP_CALL indirect_register(Interpreter* s, const Op* op, u64 flags, u64 base) {
  const u64 target = get<u64>(s, op->source);
  const Interpreter::JumpEntry& entry = s->jump_cache[Interpreter::jump_index(target)];
  if (entry.rip != target || entry.epoch != s->link_epoch) [[unlikely]]
    GOTO((indirect_slow_path<kCall, false>));
  if constexpr (kCall) {
    const u64 va = s->state.gpr[x86::kRsp] - 8;
    u8* host = lookup_write<u64>(s, va);
    if (host == nullptr) [[unlikely]]
      GOTO((indirect_slow_path<kCall, false>));
    store_host<u64>(host, base + op->offset + op->length);
    s->state.gpr[x86::kRsp] = va;
  }
  base = target;
  ENTER(entry.trace);
}

template <bool kCall>
void INTERP_CALL indirect_memory(Interpreter* s, const Op* op, u64 flags, u64 base) {
  u64 target;
  if (!indirect_slow<true>(s, op, base, kCall, target)) GOTO(leave_faulted);
  base = target;
  JUMP_INDIRECT();
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
Handler select_indirect(bool is_call, bool is_memory) {
  if (is_memory) return is_call ? &indirect_memory<true> : &indirect_memory<false>;
  return is_call ? &indirect_register<true> : &indirect_register<false>;
}
Handler select_fall_through() { return &fall_through; }

}  // namespace doppel::interp
