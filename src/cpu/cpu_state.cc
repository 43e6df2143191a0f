// Reset values and the state description of CpuState.
#include "cpu/cpu_state.h"

namespace doppel {
namespace {

void visit_segment(StateVisitor& visitor, std::string_view name, Segment& segment) {
  visitor.begin(name);
  visitor.field("selector", segment.selector);
  visitor.field("attributes", segment.attributes);
  visitor.field("limit", segment.limit);
  visitor.field("base", segment.base);
  visitor.end();
}

constexpr u32 kMxcsrBits = 0xffff;

void visit_table(StateVisitor& visitor, std::string_view name, DescriptorTable& table) {
  visitor.begin(name);
  visitor.field("base", table.base);
  visitor.field("limit", table.limit);
  visitor.end();
}

}  // namespace

void CpuState::visit_state(StateVisitor& visitor) {
  static constexpr std::string_view kNames[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  visitor.field("gpr", gpr);
  visitor.field("rip", rip);
  visitor.field("rflags", rflags);
  for (unsigned i = 0; i < x86::kSegmentCount; ++i) visit_segment(visitor, kNames[i], segments[i]);
  visit_segment(visitor, "ldtr", ldtr);
  visit_segment(visitor, "tr", tr);
  visit_table(visitor, "gdtr", gdtr);
  visit_table(visitor, "idtr", idtr);
  visitor.field("cr0", cr0);
  visitor.field("cr2", cr2);
  visitor.field("cr3", cr3);
  visitor.field("cr4", cr4);
  visitor.field("xcr0", xcr0);
  visitor.field("dr", dr);
  visitor.field("dr6", dr6);
  visitor.field("dr7", dr7);
  visitor.field("pdpte", pdpte);
  visitor.field("efer", efer);
  visitor.field("star", star);
  visitor.field("lstar", lstar);
  visitor.field("cstar", cstar);
  visitor.field("sfmask", sfmask);
  visitor.field("kernel_gs_base", kernel_gs_base);
  visitor.field("sysenter_cs", sysenter_cs);
  visitor.field("sysenter_esp", sysenter_esp);
  visitor.field("sysenter_eip", sysenter_eip);
  visitor.field("pat", pat);
  visitor.field("tsc_offset", tsc_offset);
  visitor.field("tsc_adjust", tsc_adjust);
  visitor.field("tsc_aux", tsc_aux);
  visitor.field("misc_enable", misc_enable);
  visitor.field("spec_ctrl", spec_ctrl);
  visitor.field("mcg_status", mcg_status);
  visitor.field("mtrr_def_type", mtrr.def_type);
  visitor.field("mtrr_fixed", mtrr.fixed);
  visitor.field("mtrr_variable", mtrr.variable);
  visitor.field("activity", activity);
  visitor.field("shadow", shadow);
  visitor.field("nmi_blocked", nmi_blocked);
  visitor.field("nmi_pending", nmi_pending);
  visitor.field("pending_debug", pending_debug);
  visitor.field("monitor_armed", monitor_armed);
  visitor.field("instructions_retired", instructions_retired);
  visitor.bytes("fx", {reinterpret_cast<u8*>(&fx), sizeof(fx)});
  visitor.bytes("ymm", {reinterpret_cast<u8*>(&ymm), sizeof(ymm)});
  if (!visitor.is_loading()) return;
  if (activity > Activity::kShutdown) visitor.reject("unknown activity state");
  if ((pending_debug & ~(x86::kDr6Bd | x86::kDr6Bs | x86::kDr6Bt | 0xf)) != 0)
    visitor.reject("unknown debug traps");
  // Engines load it into the host's register, where reserved bits fault. SDM 1 10.2.3.
  if (((fx.mxcsr | fx.mxcsr_mask) & ~kMxcsrBits) != 0) visitor.reject("reserved bits of MXCSR");
}

void reset_cpu_state(CpuState& state, u32 signature, bool is_init) {
  CpuState fresh;
  if (is_init) {
    // INIT keeps vector and x87 state, MSRs and the TSC. SDM 3A table 9-1.
    fresh = state;
    fresh.gpr = {};
    fresh.rflags = x86::kFlagReserved1;
    fresh.ldtr = {};
    fresh.tr = {};
    fresh.cr2 = fresh.cr3 = fresh.cr4 = fresh.efer = 0;
    fresh.dr = {};
    fresh.dr6 = x86::kDr6Fixed;
    fresh.dr7 = x86::kDr7Fixed;
    fresh.shadow = kShadowNone;
    fresh.nmi_blocked = fresh.nmi_pending = false;
    fresh.pending_debug = 0;
    fresh.activity = Activity::kRunning;
  }
  const u64 cache_bits = is_init ? state.cr0 & (x86::kCr0Cd | x86::kCr0Nw) : x86::kCr0Cd | x86::kCr0Nw;
  fresh.cr0 = cache_bits | x86::kCr0Et;
  fresh.gpr[x86::kRdx] = signature;
  for (Segment& segment : fresh.segments) segment = {.attributes = 0x93, .limit = 0xffff};
  fresh.segment(x86::kCs) = {.selector = 0xf000, .attributes = 0x9b, .limit = 0xffff, .base = 0xffff0000};
  fresh.ldtr = {.attributes = 0x82, .limit = 0xffff};
  fresh.tr = {.attributes = 0x8b, .limit = 0xffff};
  fresh.gdtr = {.base = 0, .limit = 0xffff};
  fresh.idtr = {.base = 0, .limit = 0xffff};
  fresh.rip = 0xfff0;
  if (!is_init) {
    // SDM 3A table 9-1: x87 after RESET differs from FNINIT.
    fresh.fx.fcw = 0x40;
    fresh.fx.ftw = 0xff;
  }
  state = fresh;
}

}  // namespace doppel
