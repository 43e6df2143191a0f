// CpuState: everything one virtual CPU is, in one struct; what engines exchange and checkpoints store.
#pragma once

#include <array>

#include "base/types.h"
#include "state/state_visitor.h"
#include "x86/registers.h"

namespace doppel {

// A segment register with its hidden part. `attributes` is the descriptor's access byte in bits 0..7 (type,
// S, DPL, P) and its flags nibble in bits 12..15 (AVL, L, D/B, G), as in bits 40..55 of a descriptor with the
// limit bits cleared. `limit` is in bytes, scaled. SDM 3A 3.4.5.
struct Segment {
  u16 selector = 0;
  u16 attributes = 0;
  u32 limit = 0;
  u64 base = 0;

  unsigned type() const { return attributes & 0xf; }
  bool is_code_or_data() const { return (attributes & 0x10) != 0; }
  unsigned dpl() const { return (attributes >> 5) & 3; }
  bool is_present() const { return (attributes & 0x80) != 0; }
  bool is_long() const { return (attributes & 0x2000) != 0; }
  bool is_32bit() const { return (attributes & 0x4000) != 0; }
  bool is_code() const { return (attributes & 0x18) == 0x18; }
  // Unusable: a null selector was loaded. Kept as attributes without the present bit.
  bool is_usable() const { return is_present(); }
};
static_assert(sizeof(Segment) == 16);

struct DescriptorTable {
  u64 base = 0;
  u16 limit = 0;
};

// The FXSAVE image: authoritative for x87 and MXCSR only; vector registers live in CpuState::ymm. SDM
// 1 10.5.1.
struct alignas(16) FxsaveArea {
  u16 fcw = 0x37f;
  u16 fsw = 0;
  u8 ftw = 0;  // abridged: one bit a register, 1 = not empty
  u8 reserved1 = 0;
  u16 fop = 0;
  u64 fip = 0;
  u64 fdp = 0;
  u32 mxcsr = 0x1f80;
  u32 mxcsr_mask = 0xffff;
  std::array<std::array<u8, 16>, 8> st = {};
  std::array<std::array<u8, 16>, 16> unused_xmm = {};
  std::array<u8, 96> reserved2 = {};
};
static_assert(sizeof(FxsaveArea) == 512);

struct alignas(32) Ymm {
  std::array<u64, 4> qword = {};
};

// What stops instruction execution until an event. SDM 3A 10.4.7.1 (wait for SIPI).
enum class Activity : u8 { kRunning, kHalted, kWaitForSipi, kShutdown };

// Which instruction boundary inhibits what. SDM 3A 6.8.3, 24.4.2 (interruptibility).
enum Shadow : u8 { kShadowNone = 0, kShadowSti = 1, kShadowMovSs = 2 };

// Memory type range registers, kept as the guest wrote them. SDM 3A 11.11.
struct Mtrrs {
  u64 def_type = 0;
  std::array<u64, 11> fixed = {};
  std::array<u64, 16> variable = {};  // base, mask pairs
};

// Plain data. Register values are architectural between instructions, whatever engine ran last.
struct alignas(64) CpuState {
  std::array<u64, x86::kGprCount> gpr = {};
  u64 rip = 0;
  u64 rflags = x86::kFlagReserved1;
  u64 always_zero = 0;  // stands for an absent base or index register in engines' address arithmetic
  std::array<Segment, x86::kSegmentCount> segments = {};
  Segment ldtr;
  Segment tr;
  DescriptorTable gdtr;
  DescriptorTable idtr;
  u64 cr0 = 0;
  u64 cr2 = 0;
  u64 cr3 = 0;
  u64 cr4 = 0;
  u64 xcr0 = x86::kXcr0X87;
  std::array<u64, 4> dr = {};
  u64 dr6 = x86::kDr6Fixed;
  u64 dr7 = x86::kDr7Fixed;
  std::array<u64, 4> pdpte = {};  // PAE paging's page-directory pointers, loaded with CR3. SDM 3A 4.4.1.

  u64 efer = 0;
  u64 star = 0;
  u64 lstar = 0;
  u64 cstar = 0;
  u64 sfmask = 0;
  u64 kernel_gs_base = 0;
  u64 sysenter_cs = 0;
  u64 sysenter_esp = 0;
  u64 sysenter_eip = 0;
  u64 pat = 0x0007040600070406;
  u64 tsc_offset = 0;  // guest TSC = Inputs::tsc() + tsc_offset
  u64 tsc_adjust = 0;
  u32 tsc_aux = 0;
  u64 misc_enable = 1;
  u64 spec_ctrl = 0;
  u64 mcg_status = 0;
  Mtrrs mtrr;

  Activity activity = Activity::kRunning;
  u8 shadow = kShadowNone;   // Shadow bits
  bool nmi_blocked = false;  // between NMI delivery and IRET
  bool nmi_pending = false;
  u64 pending_debug = 0;  // DR6 bits of debug traps to deliver before the next instruction

  // Address-monitoring hardware (MONITOR/MWAIT).
  bool monitor_armed = false;

  u64 instructions_retired = 0;

  alignas(64) FxsaveArea fx;
  std::array<Ymm, 16> ymm = {};

  Segment& segment(unsigned index) { return segments[index]; }
  const Segment& segment(unsigned index) const { return segments[index]; }

  void visit_state(StateVisitor& visitor);
};

// State after RESET (or INIT when `is_init`, which keeps caches, x87, vector and most MSR state). SDM 3A
// table 9-1. `signature` is CPUID.1:EAX, found in EDX after reset.
void reset_cpu_state(CpuState& state, u32 signature, bool is_init);

}  // namespace doppel
