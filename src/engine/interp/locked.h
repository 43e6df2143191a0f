// Locked instructions whose operand the software TLB does not give: code frames, watched pages, two pages.
#pragma once

#include <mutex>

#include "engine/interp/guest_atomic.h"
#include "engine/interp/interpreter.h"

namespace doppel::interp {

// A memory operand that can be written. `host` is null when it lies on two pages or is not RAM.
struct LockedOperand {
  u8* host = nullptr;
  GuestPhys physical;
  u64 va = 0;
  unsigned size = 0;
};

// False after recording a fault.
bool find_locked(Interpreter& s, u64 va, unsigned size, LockedOperand& operand);
// The operand was written through `host`.
void finish_locked(Interpreter& s, const LockedOperand& operand);

// Replaces the T at `va` by `f` of it, which may be called more than once; `old`: what was there. On two
// pages, other locked instructions on two pages keep away, and nothing else does. SDM 3A 8.1.2. False after
// recording a fault; then nothing was written.
template <class T, class F>
bool update_locked(Interpreter& s, u64 va, T& old, F f) {
  LockedOperand operand;
  if (!find_locked(s, va, sizeof(T), operand)) return false;
  if (operand.host != nullptr) {
    old = locked_update<T>(operand.host, f);
    finish_locked(s, operand);
    return true;
  }
  const std::lock_guard lock(s.memory.split_lock());
  if (!s.probe_write(va, sizeof(T), s.access_mode) || !s.read_linear(va, &old, sizeof(T), s.access_mode)) {
    return false;
  }
  const T changed = f(old);
  return s.write_linear(va, &changed, sizeof(T), s.access_mode);
}

}  // namespace doppel::interp
