// BorrowedStub: one guest instruction made runnable on the host, and what its caller must know about it.
#pragma once

#include "base/types.h"
#include "cpu/cpu_state.h"

namespace doppel {

// FLDENV, FRSTOR / FNSTENV, FNSAVE: the memory image holds instruction and data pointers, which are the
// guest's.
enum class X87Image : u8 { kNone, kLoad, kStore };

// What an instruction does to the x87 pointers FIP, FDP and FOP. SDM 1 8.1.8.
enum class X87Pointers : u8 {
  kKept,     // MMX and x87 control instructions
  kUpdated,  // every other x87 instruction
  kCleared,  // FNINIT, FNSAVE
  kLoaded,   // FLDENV, FRSTOR
};

// Made and owned by BorrowedCode; immutable and at a fixed address until BorrowedCode::clear().
struct BorrowedStub {
  // `memory`: host address of the operand, aligned as `alignment` says. `flags`: RFLAGS, of which the
  // arithmetic bits are used and replaced; may be null when the stub neither reads nor writes flags. SIMD
  // exceptions are masked while it runs; see run_borrowed() for everything that has to happen around it.
  using Entry = void (*)(CpuState* state, void* memory, u64* flags);
  Entry entry = nullptr;

  u16 memory_size = 0;        // bytes; 0: no memory operand
  bool reads_memory = false;  // also set for x87 stores: an unmasked exception leaves the operand as it was
  bool writes_memory = false;
  u8 alignment = 1;  // bytes; a guest address that is not a multiple raises #GP(0)
  bool reads_flags = false;
  bool writes_flags = false;

  bool uses_x87 = false;        // #NM, #UD by CR0.EM, CR0.TS
  bool uses_mmx = false;        // the same, and x87 state becomes MMX state
  bool uses_sse = false;        // legacy encoding with XMM registers: needs CR4.OSFXSR
  bool uses_avx = false;        // VEX encoding with vector registers: needs CR4.OSXSAVE and XCR0
  bool is_vex = false;          // #UD in real-address and virtual-8086 mode
  bool may_raise_simd = false;  // computes under MXCSR and sets its flags
  bool waits_x87 = false;       // raises #MF first when an x87 exception is pending

  X87Image x87_image = X87Image::kNone;
  X87Pointers x87_pointers = X87Pointers::kKept;

  // VMASKMOV, VPMASKMOV, MASKMOVQ, MASKMOVDQU: only elements enabled by the mask's sign bits are accessed;
  // the caller passes a bounce buffer and moves the bytes of borrowed_enabled_bytes().
  bool is_masked = false;
  u8 mask_register = 0;
  u8 mask_element_size = 0;
};

}  // namespace doppel
