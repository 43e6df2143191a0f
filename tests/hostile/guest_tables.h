// Tables of a made-up guest: descriptors, task states, interrupt vectors and page tables in its RAM.
#pragma once

#include "memory/guest_memory.h"
#include "tests/hostile/choices.h"

namespace doppel::hostile {

// The modes a guest may start in.
enum class Mode : u8 { kReal, kProtected16, kProtected32, kVirtual8086, kCompatibility, kLong };
constexpr bool is_long_mode(Mode mode) { return mode == Mode::kCompatibility || mode == Mode::kLong; }

// GDT, LDT, task states and IDT for `mode`: mostly right, some entries spoiled.
void write_descriptors(GuestMemory& memory, Choices& choices, Mode mode);

enum class Paging : u8 { kOff, kLegacy, kPae, kFourLevel, kFiveLevel };
// Tables at kPageTables that map RAM to itself, with spoiled entries and aliases; returns CR3.
u64 write_page_tables(GuestMemory& memory, Choices& choices, Paging paging);

// A segment descriptor. `access`: type, S, DPL, P; `flags`: G, D/B, L, AVL.
constexpr u64 segment_descriptor(u32 base, u32 limit, u8 access, u8 flags) {
  return (limit & 0xffffu) | u64{base & 0xffffff} << 16 | u64{access} << 40 | u64{(limit >> 16) & 0xf} << 48 |
         u64{flags} << 52 | u64{base >> 24} << 56;
}
constexpr u64 gate_descriptor(u16 selector, u32 offset, u8 access, u8 low) {
  return (offset & 0xffffu) | u64{selector} << 16 | u64{low} << 32 | u64{access} << 40 |
         u64{offset >> 16} << 48;
}

}  // namespace doppel::hostile
