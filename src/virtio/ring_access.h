// How rings are read and written while the driver's CPUs use them too.
#pragma once

#include <atomic>
#include <cstring>

#include "memory/guest_memory.h"
#include "virtio/ring_layout.h"

namespace doppel {

// One load each: what the driver changes afterwards is not seen. `host` is aligned and in guest RAM.
inline u16 load_ring_u16(const u8* host) {
  return __atomic_load_n(reinterpret_cast<const u16*>(host), __ATOMIC_ACQUIRE);
}

// A descriptor is copied once and the copy used; indirect tables need no alignment.
template <class Descriptor>
Descriptor load_descriptor(const u8* host) {
  Descriptor copy;
  std::memcpy(&copy, host, sizeof(copy));
  asm volatile("" ::: "memory");  // nothing is read again from RAM later
  return copy;
}

// Everything written before is visible first. Ring areas may share a frame with code, like any memory.
inline void store_ring_u16(GuestMemory& memory, GuestPhys address, u16 value) {
  __atomic_store_n(reinterpret_cast<u16*>(memory.host(address)), value, __ATOMIC_RELEASE);
  memory.note_write(address, sizeof(value));
}
inline void store_ring_u32(GuestMemory& memory, GuestPhys address, u32 value) {
  __atomic_store_n(reinterpret_cast<u32*>(memory.host(address)), value, __ATOMIC_RELAXED);
  memory.note_write(address, sizeof(value));
}

// Between writing what the driver looks at and reading what it wrote: each side sees at least one of the
// other's writes (2.7.13.4.1).
inline void ring_fence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

inline bool is_ring_area(const GuestMemory& memory, GuestPhys address, u64 size, u64 alignment) {
  return address.value() % alignment == 0 && memory.is_ram(address, size);
}

// 2.7.10: was `event` among the indices from `old_index` up to but not including `new_index`?
constexpr bool has_passed_event(u16 event, u16 new_index, u16 old_index) {
  return static_cast<u16>(new_index - event - 1) < static_cast<u16>(new_index - old_index);
}

// An indirect table; 2.7.5.3 and 2.8.7. False when it is refused.
inline bool is_indirect_table(const GuestMemory& memory, GuestPhys address, u32 length) {
  return length != 0 && length % sizeof(SplitDescriptor) == 0 && length / sizeof(SplitDescriptor) <= 0xffff &&
         memory.is_ram(address, length);
}

}  // namespace doppel
