// Builds descriptor tables, page tables and register values for the entry into a kernel.
#include "boot/entry_state.h"

#include <array>
#include <cstring>
#include <span>

namespace doppel {

namespace {

// Segment attributes as in Segment::attributes: access byte, flags in bits 12..15. SDM 3A 3.4.5.
constexpr u16 kCode64 = 0xa09b;  // granular, long, present, code, execute/read, accessed
constexpr u16 kCode32 = 0xc09b;  // granular, 32-bit, the same
constexpr u16 kData32 = 0xc093;  // granular, 32-bit, present, data, read/write, accessed
constexpr u16 kRealCode = 0x009b;
constexpr u16 kRealData = 0x0093;
constexpr u16 kBusyTss = 0x008b;
constexpr u16 kLdt = 0x0082;

// Memory types on, write-back by default: firmware leaves them so, and Linux refuses the PAT without.
// SDM 3A 11.11.2.1.
constexpr u64 kMtrrEnabledWriteBack = (1u << 11) | 6;

// Page-table entry bits. SDM 3A table 4-15.
constexpr u64 kPresentWritable = 3;
constexpr u64 kLargePage = 1u << 7;
constexpr u64 kLargePageSize = 2 * kMiB;
constexpr std::size_t kEntriesPerTable = 512;
constexpr std::size_t kDirectories = 4;  // one a GiB

template <class T, std::size_t N>
std::span<const u8> as_bytes(const std::array<T, N>& values) {
  return {reinterpret_cast<const u8*>(values.data()), sizeof(values)};
}

// A flat 4 GiB segment descriptor. SDM 3A figure 3-8.
constexpr u64 flat_descriptor(u16 attributes) {
  return 0x000f'0000'0000'ffffu | (static_cast<u64>(attributes & 0xf0ff) << 40);
}

CpuState common_state(u64 entry) {
  CpuState state;
  state.rip = entry;
  state.cr0 = x86::kCr0Et;
  state.mtrr.def_type = kMtrrEnabledWriteBack;
  state.ldtr = {0, kLdt, 0xffff, 0};
  state.idtr = {0, 0xffff};
  return state;
}

CpuState flat_state(GuestPhys entry, GuestPhys gdt, u16 code_attributes) {
  CpuState state = common_state(entry.value());
  state.cr0 |= x86::kCr0Pe;
  state.segments.fill({kBootDataSelector, kData32, 0xffffffff, 0});
  state.segment(x86::kCs) = {kBootCodeSelector, code_attributes, 0xffffffff, 0};
  state.tr = {0, kBusyTss, 0x67, 0};
  state.gdtr = {gdt.value(), 4 * sizeof(u64) - 1};
  state.idtr = {0, 0};
  return state;
}

}  // namespace

Result<GuestPhys> store_boot_gdt(BootMemory& memory, bool is_long) {
  const std::array<u64, 4> gdt = {0, 0, flat_descriptor(is_long ? kCode64 : kCode32),
                                  flat_descriptor(kData32)};
  return memory.store("boot descriptor table", as_bytes(gdt), 16);
}

Result<GuestPhys> store_identity_page_tables(BootMemory& memory) {
  std::vector<u64> tables(kEntriesPerTable * (2 + kDirectories));
  std::span<const u8> bytes = {reinterpret_cast<const u8*>(tables.data()), tables.size() * sizeof(u64)};
  // Their address is needed for their contents: claim the place first.
  const GuestPhys root = TRY(memory.store("boot page tables", bytes, kPageSize));
  u64* pointers = tables.data() + kEntriesPerTable;
  u64* directories = pointers + kEntriesPerTable;
  tables[0] = (root.value() + kPageSize) | kPresentWritable;
  for (u64 i = 0; i < kDirectories; ++i)
    pointers[i] = (root.value() + (2 + i) * kPageSize) | kPresentWritable;
  for (u64 i = 0; i < kDirectories * kEntriesPerTable; ++i) {
    directories[i] = i * kLargePageSize | kPresentWritable | kLargePage;
  }
  memory.fill(root, bytes, bytes.size());
  return root;
}

CpuState real_mode_state(u16 entry) {
  CpuState state = common_state(entry);
  state.segments.fill({0, kRealData, 0xffff, 0});
  state.segment(x86::kCs) = {0, kRealCode, 0xffff, 0};
  state.tr = {0, kBusyTss, 0xffff, 0};
  state.gdtr = {0, 0xffff};
  state.idtr = {0, 0x3ff};
  state.gpr[x86::kRsp] = entry;
  return state;
}

CpuState protected_mode_state(GuestPhys entry, GuestPhys gdt) { return flat_state(entry, gdt, kCode32); }

CpuState long_mode_state(GuestPhys entry, GuestPhys gdt, GuestPhys cr3) {
  CpuState state = flat_state(entry, gdt, kCode64);
  state.cr0 |= x86::kCr0Pg;
  state.cr3 = cr3.value();
  state.cr4 = x86::kCr4Pae;
  state.efer = x86::kEferLme | x86::kEferLma;
  return state;
}

}  // namespace doppel
