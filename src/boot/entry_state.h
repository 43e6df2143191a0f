// The processor states in which boot protocols enter a kernel.
#pragma once

#include "base/result.h"
#include "boot/boot_memory.h"
#include "cpu/cpu_state.h"

namespace doppel {

// Selectors of the descriptor table made by store_boot_gdt(); the Linux boot protocol fixes them.
inline constexpr u16 kBootCodeSelector = 0x10;
inline constexpr u16 kBootDataSelector = 0x18;

// Flat code and data descriptors for the selectors above; `is_long` makes the code segment 64-bit.
Result<GuestPhys> store_boot_gdt(BootMemory& memory, bool is_long);

// Page tables that map the first 4 GiB to themselves with 2 MiB pages. The result goes into CR3.
Result<GuestPhys> store_identity_page_tables(BootMemory& memory);

// 16-bit real mode at 0:`entry`, stack growing down from there.
CpuState real_mode_state(u16 entry);

// 32-bit protected mode, paging off, flat segments, interrupts off.
CpuState protected_mode_state(GuestPhys entry, GuestPhys gdt);

// 64-bit mode on the page tables at `cr3`, flat segments, interrupts off.
CpuState long_mode_state(GuestPhys entry, GuestPhys gdt, GuestPhys cr3);

}  // namespace doppel
