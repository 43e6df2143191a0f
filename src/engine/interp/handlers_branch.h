// Leaving a trace for the next one, and conditional branches: shared by the handlers that end traces.
#pragma once

#include "engine/interp/handlers.h"

namespace doppel::interp {

// Continues in `trace`, whose first instruction is at `base`.
#define ENTER(trace)                                                            \
  do {                                                                          \
    const Trace* entered = (trace);                                             \
    const i64 left = s->budget - entered->count;                                \
    s->budget = left;                                                           \
    op = entered->ops;                                                          \
    if ((left | s->attention.load(std::memory_order_relaxed)) < 0) [[unlikely]] \
      GOTO(leave_unentered);                                                    \
    [[clang::musttail]] return op->handler(s, op, flags, base);                 \
  } while (false)

// Follows a direct link, or leaves to have it resolved.
#define FOLLOW(link)                                    \
  do {                                                  \
    Link& followed = const_cast<Link&>(link);           \
    if (followed.epoch != s->link_epoch) [[unlikely]] { \
      s->link_slot = &followed;                         \
      GOTO(leave_at);                                   \
    }                                                   \
    ENTER(followed.trace);                              \
  } while (false)

INTERP_INLINE const BranchLinks& links_of(const Op* op) {
  return *reinterpret_cast<const BranchLinks*>(op + 1);
}

template <unsigned kCode>
void INTERP_CALL jcc(Interpreter* s, const Op* op, u64 flags, u64 base) {
  if (condition<kCode>(flags)) {
    base += op->displacement;
    FOLLOW(links_of(op).taken);
  }
  base += op->offset + op->length;
  FOLLOW(links_of(op).next);
}

}  // namespace doppel::interp
