// Builds descriptor and page tables.
#include "tests/hostile/guest_tables.h"

#include <array>

#include "tests/hostile/instruction_mix.h"
#include "tests/hostile/layout.h"

namespace doppel::hostile {
namespace {

constexpr u64 kEntry = 7;  // present, writable, user
constexpr u64 kLarge = 0x80;

void put(GuestMemory& memory, u64 address, u64 value) { memory.write_value(GuestPhys(address), value); }
void put32(GuestMemory& memory, u64 address, u32 value) { memory.write_value(GuestPhys(address), value); }
u64 get(GuestMemory& memory, u64 address) { return memory.read_value<u64>(GuestPhys(address)).value_or(0); }

void write_gdt(GuestMemory& memory, Choices& choices, Mode mode) {
  auto set = [&](u16 selector, u64 value) { put(memory, kGdt + selector, value); };
  for (u16 i = kRandomSelectors / 8; i < kGdtEntries; ++i) put(memory, kGdt + i * 8u, choices.next());
  set(0, 0);
  set(kCode64, segment_descriptor(0, 0xfffff, 0x9b, 0xa));
  set(kCode32, segment_descriptor(0, 0xfffff, 0x9b, 0xc));
  set(kCode16, segment_descriptor(0, 0xffff, 0x9b, 0));
  set(kDataSegment, segment_descriptor(0, 0xfffff, 0x93, 0xc));
  set(kUserCode64, segment_descriptor(0, 0xfffff, 0xfb, 0xa));
  set(kUserCode32, segment_descriptor(0, 0xfffff, 0xfb, 0xc));
  set(kUserData, segment_descriptor(0, 0xfffff, 0xf3, 0xc));
  set(kTssSelector, segment_descriptor(kTss, 0x2067, 0x89, 0));
  set(kTssSelector + 8, 0);
  set(kLdtSelector, segment_descriptor(kLdt, 0xff, 0x82, 0));
  set(kLdtSelector + 8, 0);
  set(kTaskA, segment_descriptor(kOtherTss, 0x67, 0x89, 0));
  set(kTaskB, segment_descriptor(kOtherTss + kTssStride, 0x67, choices.pick({u8{0x89}, u8{0x81}}), 0));
  set(kTaskGateSelector, gate_descriptor(choices.pick({kTaskA, kTaskB, kTssSelector}), 0, 0xe5, 0));
  set(kTaskGateSelector + 8, choices.next());
  const u16 target = is_long_mode(mode) ? kCode64 : choices.pick({kCode32, kCode16});
  set(kCallGateSelector,
      gate_descriptor(target, kCode, choices.pick({u8{0xec}, u8{0xe4}}), choices.next() & 0x1f));
  set(kCallGateSelector + 8, 0);
  if (choices.percent(30)) set(static_cast<u16>(8 * choices.below(kGdtEntries)), choices.next());
}

// A 32-bit task that would run, or nearly. SDM 3A figure 7-2.
void write_task(GuestMemory& memory, Choices& choices, u64 base) {
  for (unsigned level = 0; level < 3; ++level) {
    put32(memory, base + 4 + level * 8, static_cast<u32>(kStack));
    put32(memory, base + 8 + level * 8, kDataSegment | level);
  }
  put32(memory, base, choices.pick({kTaskA, kTaskB, kTssSelector}));
  put32(memory, base + 28, static_cast<u32>(kPageTables));
  put32(memory, base + 32, static_cast<u32>(kCode + choices.below(kCodeBytes)));
  put32(memory, base + 36, static_cast<u32>(choices.percent(50) ? choices.next() & 0x3f7fd7 : 2));
  put32(memory, base + 56, static_cast<u32>(kStack));
  static constexpr u16 kSelectors[] = {kDataSegment, kCode32,      kDataSegment,
                                       kDataSegment, kDataSegment, kDataSegment};
  for (unsigned i = 0; i < 6; ++i) {
    const u16 selector = choices.percent(10) ? static_cast<u16>(choices.next()) : kSelectors[i];
    put32(memory, base + 72 + i * 4, selector);
  }
  put32(memory, base + 96, choices.percent(30) ? kLdtSelector : 0);
  put32(memory, base + 100, static_cast<u32>(choices.next() & 1) | 0x680000);
}

// SDM 3A figure 7-11.
void write_long_task(GuestMemory& memory, Choices& choices) {
  for (u64 slot = 4; slot < 92; slot += 8) {
    put(memory, kTss + slot, choices.percent(15) ? interesting_address(choices) : kStack);
  }
  put32(memory, kTss + 100, 0x680000);
}

void write_idt(GuestMemory& memory, Choices& choices, Mode mode) {
  const bool is_long = is_long_mode(mode);
  for (unsigned vector = 0; vector < 256; ++vector) {
    const u32 handler = static_cast<u32>(kHandlers + vector * kHandlerBytes);
    const u16 code = is_long ? kCode64 : kCode32;
    u8 access = choices.pick({u8{0x8e}, u8{0x8f}, u8{0xee}, u8{0xef}});
    u64 gate =
        gate_descriptor(code, handler, access, is_long && choices.percent(20) ? choices.below(8) & 0xff : 0);
    if (!is_long && choices.percent(10)) gate = gate_descriptor(choices.pick({kTaskA, kTaskB}), 0, 0xe5, 0);
    if (choices.percent(10)) gate = choices.next();
    if (is_long) {
      put(memory, kIdt + vector * 16, gate);
      put(memory, kIdt + vector * 16 + 8, choices.percent(3) ? choices.next() : 0);
    } else {
      put(memory, kIdt + vector * 8, gate);
    }
  }
}

// Spoils entries of the table at `table`.
void spoil(GuestMemory& memory, Choices& choices, u64 table, unsigned bytes) {
  for (u64 i = choices.below(6); i > 0; --i) {
    const u64 slot = table + bytes * choices.below(kPageSize / bytes);
    u64 entry = get(memory, slot);
    switch (choices.below(4)) {
      case 0:
        entry ^= u64{1} << choices.below(64);
        break;
      case 1:
        entry = (interesting_address(choices) & ~kPageOffsetMask) | kEntry;
        break;
      case 2:
        entry = table | kEntry;
        break;  // to itself
      default:
        entry = choices.next();
        break;
    }
    if (bytes == 8)
      put(memory, slot, entry);
    else
      put32(memory, slot, static_cast<u32>(entry));
  }
}

u64 write_legacy_tables(GuestMemory& memory, Choices& choices) {
  const u64 table = kPageTables + kPageSize;
  for (u32 i = 0; i < 1024; ++i) {
    put32(memory, kPageTables + i * 4, static_cast<u32>(u64{i} << 22 | kEntry | kLarge));
    put32(memory, table + i * 4, static_cast<u32>(u64{i} << 12 | kEntry));
  }
  put32(memory, kPageTables, static_cast<u32>(table | kEntry));
  spoil(memory, choices, table, 4);
  if (choices.percent(50)) spoil(memory, choices, kPageTables, 4);
  return kPageTables;
}

// Tables from the top: root, then one of each lower level; the last maps 2 MiB by pages.
u64 write_wide_tables(GuestMemory& memory, Choices& choices, unsigned levels) {
  u64 table = kPageTables;
  for (unsigned level = levels; level > 2; --level) {
    put(memory, table, (table + kPageSize) | kEntry);
    put(memory, table + 0xff8, (table + kPageSize) | kEntry);  // the top of the address space, too
    if (choices.percent(30)) put(memory, table + 8 * choices.below(512), table | kEntry);
    table += kPageSize;
  }
  for (u64 i = 0; i < 512; ++i) {
    put(memory, table + i * 8, i * 2 * kMiB | kEntry | kLarge);
    put(memory, table + kPageSize + i * 8, i * kPageSize | kEntry);
  }
  put(memory, table, (table + kPageSize) | kEntry);
  spoil(memory, choices, table + kPageSize, 8);
  if (choices.percent(50)) spoil(memory, choices, table, 8);
  if (choices.percent(20)) spoil(memory, choices, kPageTables, 8);
  return kPageTables;
}

}  // namespace

void write_descriptors(GuestMemory& memory, Choices& choices, Mode mode) {
  write_gdt(memory, choices, mode);
  for (u64 i = 0; i < 32; ++i)
    put(memory, kLdt + i * 8, choices.percent(50) ? get(memory, kGdt + i * 8) : choices.next());
  write_task(memory, choices, kTss);
  write_task(memory, choices, kOtherTss);
  write_task(memory, choices, kOtherTss + kTssStride);
  if (is_long_mode(mode)) write_long_task(memory, choices);
  write_idt(memory, choices, mode);
}

u64 write_page_tables(GuestMemory& memory, Choices& choices, Paging paging) {
  switch (paging) {
    case Paging::kOff:
      return choices.percent(50) ? 0 : interesting_address(choices);
    case Paging::kLegacy:
      return write_legacy_tables(memory, choices);
    case Paging::kPae:
      return write_wide_tables(memory, choices, 3);
    case Paging::kFourLevel:
      return write_wide_tables(memory, choices, 4);
    case Paging::kFiveLevel:
      return write_wide_tables(memory, choices, 5);
  }
  return 0;
}

}  // namespace doppel::hostile
