// The boundary between handlers and everything else: leaving traces, slow memory, the semantic table's call.
#include <algorithm>

#include "engine/interp/handlers.h"

namespace doppel::interp {
namespace {

// Makes the state architectural at the instruction `op`.
void settle(Interpreter* s, const Op* op, u64 flags, u64 rip) {
  s->state.rip = s->is_64bit ? rip : rip & 0xffffffff;
  s->state.rflags = (s->state.rflags & ~x86::kArithmeticFlags) | unpack_flags(flags);
  s->remaining_in_trace = op->remaining;
}

}  // namespace

void INTERP_CALL leave_faulted(Interpreter* s, const Op* op, u64 flags, u64 base) {
  settle(s, op, flags, base + op->offset);
  s->budget += op->remaining;
}

void INTERP_CALL leave_after(Interpreter* s, const Op* op, u64 flags, u64 base) {
  settle(s, op, flags, base + op->offset + op->length);
  s->budget += op->remaining - 1;
}

void INTERP_CALL leave_at(Interpreter* s, const Op* op, u64 flags, u64 base) { settle(s, op, flags, base); }

void INTERP_CALL leave_unentered(Interpreter* s, const Op* op, u64 flags, u64 base) {
  settle(s, op, flags, base);
  s->budget += op->remaining;
}

void INTERP_CALL enter_dead(Interpreter* s, const Op* op, u64 flags, u64 base) {
  auto* dead = reinterpret_cast<Trace*>(op->immediate);
  settle(s, op, flags, base);
  s->budget += dead->count;
  s->dead_trace = dead;
}

void INTERP_CALL call_semantic(Interpreter* s, const Op* op, u64 flags, u64 base) {
  settle(s, op, flags, base + op->offset);
  const Flow flow = op->insn->function(*s, *op, *op->insn);
  if (flow == Flow::kNext) [[likely]] {
    flags = pack_flags(s->state.rflags);
    // Attention: a device may have overwritten what follows.
    if (s->trace_was_invalidated() || s->attention.load(std::memory_order_relaxed) != 0) GOTO(leave_after);
    NEXT();
  }
  if (flow == Flow::kFault) {
    s->budget += op->remaining;
  } else {
    s->budget += op->remaining - 1;
  }
}

bool operand_address(Interpreter* s, const Op* op, u64 base, unsigned size, bool is_write, u64& va) {
  s->remaining_in_trace = op->remaining;
  return s->linear_address(op->segment, any_offset(s, op, base), size, is_write, va);
}

bool slow_load(Interpreter* s, const Op* op, u64 base, void* out, unsigned size) {
  u64 va;
  return operand_address(s, op, base, size, false, va) && s->read_linear(va, out, size, s->access_mode);
}

bool slow_store(Interpreter* s, const Op* op, u64 base, const void* data, unsigned size) {
  u64 va;
  return operand_address(s, op, base, size, true, va) && s->write_linear(va, data, size, s->access_mode);
}

bool slow_load_for_update(Interpreter* s, const Op* op, u64 base, void* out, unsigned size, u64& va) {
  return operand_address(s, op, base, size, true, va) && s->probe_write(va, size, s->access_mode) &&
         s->read_linear(va, out, size, s->access_mode);
}

bool slow_store_at(Interpreter* s, const Op*, u64 va, const void* data, unsigned size) {
  return s->write_linear(va, data, size, s->access_mode);
}

u8* update_pointer(Interpreter* s, u64 va, unsigned size) {
  if ((va & kPageOffsetMask) > kPageSize - size) return nullptr;
  if (u8* host = s->tlb->write.find(va, size)) return host;
  // A fault here is found again, and reported, by the caller's slow path.
  s->mmu.fill(GuestVirt(va), Access::kWrite, s->access_mode);
  return s->tlb->write.find(va, size);
}

}  // namespace doppel::interp
