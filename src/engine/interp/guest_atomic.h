// Locked operations on guest memory, which may lie at any alignment; a C++ atomic may not.
#pragma once

#include "base/types.h"

namespace doppel::interp {

// Each works on the sizeof(T) bytes at `host` as one step. SDM 3A 8.1.2.2.

// Stores `desired` if the memory holds `expected`; else loads what it holds into `expected`.
template <class T>
bool locked_compare_exchange(u8* host, T& expected, T desired) {
  bool is_equal;
  asm volatile("lock cmpxchg %[desired], %[memory]"
               : [memory] "+m"(*host), "+a"(expected), "=@ccz"(is_equal)
               : [desired] "r"(desired)
               : "memory");
  return is_equal;
}

// Both return what the memory held before.
template <class T>
T locked_exchange(u8* host, T value) {
  asm volatile("xchg %[value], %[memory]" : [memory] "+m"(*host), [value] "+r"(value) : : "memory");
  return value;
}
template <class T>
T locked_add(u8* host, T value) {
  asm volatile("lock xadd %[value], %[memory]"
               : [memory] "+m"(*host), [value] "+r"(value)
               :
               : "memory", "cc");
  return value;
}

// Replaces the memory's value by `f` of it; returns what it held before.
template <class T, class F>
T locked_update(u8* host, F f) {
  T old;
  __builtin_memcpy(&old, host, sizeof(T));
  while (!locked_compare_exchange<T>(host, old, f(old))) {
  }
  return old;
}

}  // namespace doppel::interp
