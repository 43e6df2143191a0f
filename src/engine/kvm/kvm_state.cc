// Field by field. Kernel: arch/x86/include/uapi/asm/kvm.h.
#include "engine/kvm/kvm_state.h"

#include <algorithm>

#include "x86/registers.h"

namespace doppel::kvm {
namespace {

struct RegisterRow {
  x86::Gpr index;
  __u64 kvm_regs::* member;
};
constexpr RegisterRow kRegisters[] = {
    {x86::kRax, &kvm_regs::rax}, {x86::kRcx, &kvm_regs::rcx}, {x86::kRdx, &kvm_regs::rdx},
    {x86::kRbx, &kvm_regs::rbx}, {x86::kRsp, &kvm_regs::rsp}, {x86::kRbp, &kvm_regs::rbp},
    {x86::kRsi, &kvm_regs::rsi}, {x86::kRdi, &kvm_regs::rdi}, {x86::kR8, &kvm_regs::r8},
    {x86::kR9, &kvm_regs::r9},   {x86::kR10, &kvm_regs::r10}, {x86::kR11, &kvm_regs::r11},
    {x86::kR12, &kvm_regs::r12}, {x86::kR13, &kvm_regs::r13}, {x86::kR14, &kvm_regs::r14},
    {x86::kR15, &kvm_regs::r15},
};

// In the order of x86::SegmentIndex.
constexpr kvm_segment kvm_sregs2::* kSegments[] = {&kvm_sregs2::es, &kvm_sregs2::cs, &kvm_sregs2::ss,
                                                   &kvm_sregs2::ds, &kvm_sregs2::fs, &kvm_sregs2::gs};

kvm_segment to_segment(const Segment& segment) {
  const unsigned attributes = segment.attributes;
  return {.base = segment.base,
          .limit = segment.limit,
          .selector = segment.selector,
          .type = static_cast<u8>(segment.type()),
          .present = segment.is_present(),
          .dpl = static_cast<u8>(segment.dpl()),
          .db = bit(attributes, 14),
          .s = segment.is_code_or_data(),
          .l = segment.is_long(),
          .g = bit(attributes, 15),
          .avl = bit(attributes, 12),
          .unusable = !segment.is_usable(),
          .padding = 0};
}

Segment from_segment(const kvm_segment& in) {
  const bool is_present = in.present != 0 && in.unusable == 0;
  const unsigned attributes = (in.type & 0xfu) | (in.s & 1u) << 4 | (in.dpl & 3u) << 5 |
                              static_cast<unsigned>(is_present) << 7 | (in.avl & 1u) << 12 |
                              (in.l & 1u) << 13 | (in.db & 1u) << 14 | (in.g & 1u) << 15;
  return {.selector = in.selector,
          .attributes = static_cast<u16>(attributes),
          .limit = in.limit,
          .base = in.base};
}

bool uses_pae(const CpuState& state) {
  return (state.cr0 & x86::kCr0Pg) != 0 && (state.cr4 & x86::kCr4Pae) != 0 &&
         (state.efer & x86::kEferLma) == 0;
}

// SDM 1 13.4.2, 13.4.3: the header follows the 512 bytes, the upper halves are at 576.
constexpr std::size_t kHeaderOffset = 512;
constexpr std::size_t kAvxOffset = 576;
constexpr std::size_t kXmmOffset = 160;

constexpr u64 kDebugTraps = 0xf | x86::kDr6Bd | x86::kDr6Bs | x86::kDr6Bt;

}  // namespace

kvm_regs to_regs(const CpuState& state) {
  kvm_regs regs{};
  regs.rip = state.rip;
  regs.rflags = state.rflags;
  for (const RegisterRow& row : kRegisters) regs.*row.member = state.gpr[row.index];
  return regs;
}

void from_regs(const kvm_regs& regs, CpuState& state) {
  for (const RegisterRow& row : kRegisters) state.gpr[row.index] = regs.*row.member;
  state.rip = regs.rip;
  state.rflags = regs.rflags;
}

kvm_sregs2 to_sregs(const CpuState& state, unsigned cpl, const ApicValues& apic) {
  kvm_sregs2 sregs{};
  for (unsigned i = 0; i < x86::kSegmentCount; ++i) sregs.*kSegments[i] = to_segment(state.segments[i]);
  sregs.ss.dpl = static_cast<u8>(cpl);
  sregs.ldt = to_segment(state.ldtr);
  sregs.tr = to_segment(state.tr);
  sregs.gdt = {.base = state.gdtr.base, .limit = state.gdtr.limit, .padding = {}};
  sregs.idt = {.base = state.idtr.base, .limit = state.idtr.limit, .padding = {}};
  sregs.cr0 = state.cr0;
  sregs.cr2 = state.cr2;
  sregs.cr3 = state.cr3;
  sregs.cr4 = state.cr4;
  sregs.cr8 = apic.task_priority;
  sregs.efer = state.efer;
  sregs.apic_base = apic.apic_base;
  if (uses_pae(state)) {
    sregs.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
    std::ranges::copy(state.pdpte, sregs.pdptrs);
  }
  return sregs;
}

void from_sregs(const kvm_sregs2& sregs, CpuState& state) {
  for (unsigned i = 0; i < x86::kSegmentCount; ++i) state.segments[i] = from_segment(sregs.*kSegments[i]);
  state.ldtr = from_segment(sregs.ldt);
  state.tr = from_segment(sregs.tr);
  state.gdtr = {.base = sregs.gdt.base, .limit = sregs.gdt.limit};
  state.idtr = {.base = sregs.idt.base, .limit = sregs.idt.limit};
  state.cr0 = sregs.cr0;
  state.cr2 = sregs.cr2;
  state.cr3 = sregs.cr3;
  state.cr4 = sregs.cr4;
  state.efer = sregs.efer;
  if ((sregs.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) != 0)
    std::ranges::copy(sregs.pdptrs, state.pdpte.begin());
}

void to_xsave(const CpuState& state, bool has_avx, XsaveImage& xsave) {
  xsave = {};
  u8* bytes = xsave.data();
  std::memcpy(bytes, &state.fx, sizeof(state.fx));
  for (unsigned i = 0; i < state.ymm.size(); ++i) {
    std::memcpy(bytes + kXmmOffset + 16 * i, &state.ymm[i].qword[0], 16);
    if (has_avx) std::memcpy(bytes + kAvxOffset + 16 * i, &state.ymm[i].qword[2], 16);
  }
  const u64 components = x86::kXcr0X87 | x86::kXcr0Sse | (has_avx ? x86::kXcr0Avx : 0);
  std::memcpy(bytes + kHeaderOffset, &components, sizeof(components));
}

// A component that is not in the image is in its initial state. SDM 1 13.6.
void from_xsave(const XsaveImage& xsave, CpuState& state) {
  const u8* bytes = xsave.data();
  u64 components = 0;
  std::memcpy(&components, bytes + kHeaderOffset, sizeof(components));
  FxsaveArea legacy;
  std::memcpy(&legacy, bytes, sizeof(legacy));
  const u32 mask = state.fx.mxcsr_mask;
  state.fx = (components & x86::kXcr0X87) != 0 ? legacy : FxsaveArea{};
  state.fx.mxcsr = legacy.mxcsr;
  state.fx.mxcsr_mask = mask;
  state.fx.unused_xmm = {};
  state.fx.reserved2 = {};
  state.ymm = {};
  for (unsigned i = 0; i < state.ymm.size(); ++i) {
    if ((components & x86::kXcr0Sse) != 0) {
      std::memcpy(&state.ymm[i].qword[0], bytes + kXmmOffset + 16 * i, 16);
    }
    if ((components & x86::kXcr0Avx) != 0) {
      std::memcpy(&state.ymm[i].qword[2], bytes + kAvxOffset + 16 * i, 16);
    }
  }
}

kvm_debugregs to_debug(const CpuState& state) {
  kvm_debugregs debug{};
  debug.dr6 = state.dr6 | (state.pending_debug & kDebugTraps);
  debug.dr7 = state.dr7;
  std::ranges::copy(state.dr, debug.db);
  return debug;
}

void from_debug(const kvm_debugregs& debug, CpuState& state) {
  std::ranges::copy(debug.db, state.dr.begin());
  state.dr6 = (debug.dr6 & kDebugTraps) | x86::kDr6Fixed;
  state.dr7 = debug.dr7;
}

kvm_vcpu_events to_events(const CpuState& state) {
  kvm_vcpu_events events{};
  events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  if (state.pending_debug != 0) {
    events.exception.injected = 1;
    events.exception.nr = x86::kVectorDb;
  }
  events.nmi.pending = state.nmi_pending;
  events.nmi.masked = state.nmi_blocked;
  if ((state.shadow & kShadowSti) != 0) events.interrupt.shadow |= KVM_X86_SHADOW_INT_STI;
  if ((state.shadow & kShadowMovSs) != 0) events.interrupt.shadow |= KVM_X86_SHADOW_INT_MOV_SS;
  return events;
}

void from_events(const kvm_vcpu_events& events, CpuState& state) {
  state.pending_debug = 0;
  state.shadow = kShadowNone;
  if ((events.interrupt.shadow & KVM_X86_SHADOW_INT_STI) != 0) state.shadow |= kShadowSti;
  if ((events.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS) != 0) state.shadow |= kShadowMovSs;
  // One that KVM took but did not deliver is pending again.
  state.nmi_pending = events.nmi.pending != 0 || events.nmi.injected != 0;
  state.nmi_blocked = events.nmi.masked != 0 && events.nmi.injected == 0;
}

}  // namespace doppel::kvm
