// GuestWorld: tables in guest RAM and the long-mode state that points at them.
#include "tests/differential/guest_world.h"

#include "base/verify.h"
#include "tests/differential/layout.h"
#include "tests/differential/native_backend.h"
#include "tests/differential/open_cases.h"

namespace doppel::differential {
namespace {

// Page-table entry bits. SDM 3A table 4-15.
constexpr u64 kPresent = 1;
constexpr u64 kWritable = 2;
constexpr u64 kUser = 4;
constexpr u64 kAccessedDirty = 0x60;
constexpr u64 kNoExecute = u64{1} << 63;

constexpr u16 kKernelCode = 0x10;
constexpr u16 kTssSelector = 0x40;
constexpr u64 kHaltInstruction = 0xf4;

// Access byte and flags as in Segment::attributes.
constexpr u16 kAttributesCode64 = 0xa0fb;
constexpr u16 kAttributesCode32 = 0xc0fb;
constexpr u16 kAttributesData = 0xc0f3;
constexpr u16 kAttributesKernelCode = 0xa09b;
constexpr u16 kAttributesKernelData = 0xc093;
constexpr u16 kAttributesTss = 0x008b;

u64 descriptor(u16 attributes) {
  // Flat: base 0, limit 0xfffff with page granularity.
  return 0xffff | u64{attributes} << 40 | u64{0xf} << 48;
}

Segment flat_segment(u16 selector, u16 attributes) {
  Segment segment;
  segment.selector = selector;
  segment.attributes = attributes;
  segment.limit = 0xffffffff;
  return segment;
}

bool has_error_code(int vector) {
  return vector == x86::kVectorDf || (vector >= x86::kVectorTs && vector <= x86::kVectorPf) ||
         vector == x86::kVectorAc;
}

}  // namespace

GuestWorld::GuestWorld(GuestMemory& memory) : memory_(memory) {
  for (u64 page = 0; page < 5; ++page) {
    map(kKernelBase + kIdtPhys + page * kPageSize, kIdtPhys + page * kPageSize, kWritable);
  }
  for (u64 page = 0; page < kCodePages; ++page) {
    map(kCodeBase + page * kPageSize, kCodePhys + page * kPageSize, kUser | kWritable);
  }
  for (u64 offset = 0; offset < kDataSize; offset += kPageSize) {
    map(kDataBase + offset, kDataPhys + offset, kUser | kWritable | kNoExecute);
  }
  map(kReadOnlyBase, kDataPhys + kDataSize, kUser | kNoExecute);
  for (u64 offset = 0; offset < kStackSize; offset += kPageSize) {
    map(kStackBase + offset, kUserStackPhys + offset, kUser | kWritable | kNoExecute);
  }
  fill_read_only_page({memory_.host(GuestPhys(kDataPhys + kDataSize)), kReadOnlySize});
  map(kEdgeBase, kRamSize - kPageSize, kUser | kWritable | kNoExecute);
  map(kEdgeBase + kPageSize, kRamSize, kUser | kWritable | kNoExecute);
  write_idt();
  write_gdt();
}

u64 GuestWorld::next_table(u64 table, u64 index) {
  const GuestPhys slot(table + index * 8);
  const u64 entry = *memory_.read_value<u64>(slot);
  if (entry != 0) return entry & ~kPageOffsetMask;
  const u64 fresh = next_free_table_;
  next_free_table_ += kPageSize;
  VERIFY(fresh < kIdtPhys);
  VERIFY(memory_.write_value<u64>(slot, fresh | kPresent | kWritable | kUser | 0x20));
  return fresh;
}

void GuestWorld::map(u64 virtual_address, u64 physical, u64 leaf_flags) {
  u64 table = kTablesPhys;
  for (unsigned shift = host_has_wide_addresses() ? 48 : 39; shift > kPageShift; shift -= 9) {
    table = next_table(table, bits(virtual_address, shift, 9));
  }
  const GuestPhys slot(table + bits(virtual_address, kPageShift, 9) * 8);
  VERIFY(memory_.write_value<u64>(slot, physical | kPresent | kAccessedDirty | leaf_flags));
}

void GuestWorld::write_idt() {
  for (u64 vector = 0; vector < 256; ++vector) {
    const u64 handler = kKernelBase + kHandlersPhys + vector * kHandlerSpacing;
    // As Linux sets it up: user code may raise only #BP and #OF by software. 64-bit interrupt gate, SDM
    // 3A 6.14.1.
    const u64 access = vector == x86::kVectorBp || vector == x86::kVectorOf ? 0xee : 0x8e;
    const u64 low =
        (handler & 0xffff) | u64{kKernelCode} << 16 | access << 40 | (handler >> 16 & 0xffff) << 48;
    VERIFY(memory_.write_value<u64>(GuestPhys(kIdtPhys + vector * 16), low));
    VERIFY(memory_.write_value<u64>(GuestPhys(kIdtPhys + vector * 16 + 8), handler >> 32));
    VERIFY(memory_.write_value<u8>(GuestPhys(kHandlersPhys + vector * kHandlerSpacing), kHaltInstruction));
  }
}

void GuestWorld::write_gdt() {
  auto put = [&](u64 selector, u64 value) {
    VERIFY(memory_.write_value<u64>(GuestPhys(kGdtPhys + (selector & ~u64{7})), value));
  };
  put(kKernelCode, descriptor(kAttributesKernelCode));
  put(kKernelCode + 8, descriptor(kAttributesKernelData));
  put(kUserCode32, descriptor(kAttributesCode32));
  put(kUserData, descriptor(kAttributesData));
  put(kUserCode64, descriptor(kAttributesCode64));
  const u64 tss = kKernelBase + kTssPhys;
  put(kTssSelector, 0x67 | (tss & 0xffffff) << 16 | u64{kAttributesTss} << 40 | (tss >> 24 & 0xff) << 56);
  put(kTssSelector + 8, tss >> 32);
  VERIFY(memory_.write_value<u64>(GuestPhys(kTssPhys + 4), kStackTop));  // RSP0
  VERIFY(memory_.write_value<u16>(GuestPhys(kTssPhys + 102), 104));      // no I/O permission map
}

CpuState GuestWorld::initial_state(bool is_compat) const {
  CpuState state;
  state.segments[x86::kCs] =
      is_compat ? flat_segment(kUserCode32, kAttributesCode32) : flat_segment(kUserCode64, kAttributesCode64);
  // FS and GS too: 32-bit code needs a usable segment, whatever its base.
  for (const auto index : {x86::kDs, x86::kEs, x86::kSs, x86::kFs, x86::kGs}) {
    state.segments[index] = flat_segment(kUserData, kAttributesData);
  }
  state.tr.selector = kTssSelector;
  state.tr.attributes = kAttributesTss;
  state.tr.limit = 0x67;
  state.tr.base = kKernelBase + kTssPhys;
  state.gdtr = {kKernelBase + kGdtPhys, 0x7f};
  state.idtr = {kKernelBase + kIdtPhys, 0xfff};
  state.cr0 = x86::kCr0Pe | x86::kCr0Mp | x86::kCr0Et | x86::kCr0Ne | x86::kCr0Wp | x86::kCr0Am | x86::kCr0Pg;
  state.cr3 = kTablesPhys;
  state.cr4 = x86::kCr4Pae | x86::kCr4Osfxsr | x86::kCr4Osxmmexcpt | x86::kCr4Fsgsbase | x86::kCr4Osxsave |
              x86::kCr4Umip;
  if (host_has_wide_addresses()) state.cr4 |= x86::kCr4La57;
  state.efer = x86::kEferSce | x86::kEferLme | x86::kEferLma | x86::kEferNxe;
  state.xcr0 = x86::kXcr0X87 | x86::kXcr0Sse | x86::kXcr0Avx;
  return state;
}

void GuestWorld::read_fault(const CpuState& state, Outcome& out) const {
  // HLT itself may have been executed as the one instruction of the budget.
  out.vector = static_cast<int>((state.rip - kKernelBase - kHandlersPhys) / kHandlerSpacing);
  out.cr2 = state.cr2;
  u64 frame = state.gpr[x86::kRsp] - kKernelBase;
  auto pop = [&] {
    const u64 value = memory_.read_value<u64>(GuestPhys(frame)).value_or(0);
    frame += 8;
    return value;
  };
  out.error_code = has_error_code(out.vector) ? static_cast<u32>(pop()) : 0;
  out.state.rip = pop();
  pop();  // CS
  out.state.rflags = pop();
  out.state.gpr[x86::kRsp] = pop();
}

}  // namespace doppel::differential
