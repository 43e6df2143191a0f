// Model-specific registers that are part of CpuState; the rest is asked of the platform. SDM 4.
#include "x86/msr.h"
#include "base/log.h"
#include "cpu/core.h"

namespace doppel {

using namespace x86;  // the register names of this file

namespace {

constexpr unsigned kVariableMtrrs = 8;
constexpr u64 kMcgCapability = 0x0a | 1u << 8;  // ten banks, MCG_CTL present
constexpr u32 kMcBankFirst = 0x400;

// SDM 2D "WRMSR": a non-canonical value is #GP(0).
constexpr bool holds_address(u32 index) {
  switch (index) {
    case kMsrSysenterEsp:
    case kMsrSysenterEip:
    case kMsrLstar:
    case kMsrCstar:
    case kMsrFsBase:
    case kMsrGsBase:
    case kMsrKernelGsBase:
      return true;
    default:
      return false;
  }
}

// UC, WC, WT, WP, WB. SDM 3A table 11-8.
constexpr bool is_memory_type(u64 type) { return type <= 6 && type != 2 && type != 3; }

// Reserved bits and memory types of the MTRRs. SDM 3A 11.11.2.
bool is_valid_mtrr(u32 index, u64 value, u32 physical_address_bits) {
  if (index == kMsrMtrrDefType) return (value & ~u64{0xcff}) == 0 && is_memory_type(value & 0xff);
  if (index >= kMsrMtrrPhysBase0 && index < kMsrMtrrPhysBase0 + 2 * kVariableMtrrs) {
    if (value >> physical_address_bits != 0) return false;
    const bool is_base = (index & 1) == 0;
    return is_base ? (value & 0xf00) == 0 && is_memory_type(value & 0xff) : (value & 0x7ff) == 0;
  }
  for (unsigned i = 0; i < 8; ++i) {
    if (!is_memory_type(value >> (8 * i) & 0xff)) return false;
  }
  return true;
}

}  // namespace

// The MTRR an index names. SDM 3A 11.11.2.
bool Core::mtrr_slot(u32 index, u64*& slot) {
  if (index >= kMsrMtrrPhysBase0 && index < kMsrMtrrPhysBase0 + 2 * kVariableMtrrs) {
    slot = &state.mtrr.variable[index - kMsrMtrrPhysBase0];
  } else if (index == kMsrMtrrFix64k) {
    slot = &state.mtrr.fixed[0];
  } else if (index == kMsrMtrrFix16k0 || index == kMsrMtrrFix16k1) {
    slot = &state.mtrr.fixed[1 + index - kMsrMtrrFix16k0];
  } else if (index >= kMsrMtrrFix4k0 && index < kMsrMtrrFix4k0 + 8) {
    slot = &state.mtrr.fixed[3 + index - kMsrMtrrFix4k0];
  } else if (index == kMsrMtrrDefType) {
    slot = &state.mtrr.def_type;
  } else {
    return false;
  }
  return true;
}

namespace {

// Registers that read the same on every machine.
std::optional<u64> constant_msr(u32 index) {
  if (index >= kMcBankFirst && index < kMcBankFirst + 40) return 0;
  switch (index) {
    case kMsrPlatformId:
      return 0;
    case kMsrFeatureControl:
      return 1;
    case kMsrBiosSignId:
      return u64{1} << 32;
    case kMsrMtrrCap:
      return 0x500 | kVariableMtrrs;
    case kMsrMcgCap:
      return kMcgCapability;
    case kMsrMcgCtl:
      return ~u64{0};
    default:
      return std::nullopt;
  }
}

}  // namespace

// Registers that are kept as they are written; nullptr for all others.
u64* Core::kept_msr(u32 index) {
  switch (index) {
    case kMsrSysenterEsp:
      return &state.sysenter_esp;
    case kMsrSysenterEip:
      return &state.sysenter_eip;
    case kMsrMcgStatus:
      return &state.mcg_status;
    case kMsrMiscEnable:
      return &state.misc_enable;
    case kMsrStar:
      return &state.star;
    case kMsrLstar:
      return &state.lstar;
    case kMsrCstar:
      return &state.cstar;
    case kMsrFsBase:
      return &state.segment(kFs).base;
    case kMsrGsBase:
      return &state.segment(kGs).base;
    case kMsrKernelGsBase:
      return &state.kernel_gs_base;
    default:
      return nullptr;
  }
}

bool Core::read_msr(u32 index, u64& value) {
  u64* slot = kept_msr(index);
  if (slot != nullptr || mtrr_slot(index, slot)) {
    value = *slot;
    return true;
  }
  if (const std::optional<u64> constant = constant_msr(index)) {
    value = *constant;
    return true;
  }
  switch (index) {
    case kMsrTsc:
      value = guest_tsc();
      return true;
    case kMsrTscAdjust:
      value = state.tsc_adjust;
      return true;
    case kMsrArchCapabilities:
      if (!cpuid.has(Feature::kArchCapabilities)) return raise(kVectorGp, 0);
      value = cpuid.arch_capabilities();
      return true;
    case kMsrSpecCtrl:
      if (!cpuid.has(Feature::kSpecCtrl)) return raise(kVectorGp, 0);
      value = state.spec_ctrl;
      return true;
    case kMsrSysenterCs:
      value = state.sysenter_cs;
      return true;
    case kMsrPat:
      value = state.pat;
      return true;
    case kMsrEfer:
      value = state.efer;
      return true;
    case kMsrSfmask:
      value = state.sfmask;
      return true;
    case kMsrTscAux:
      value = state.tsc_aux;
      return true;
    default:
      break;
  }
  const std::optional<u64> answer = platform.read_msr(index);
  if (!answer) {
    LOG_GUEST("RDMSR of unknown {:#x} at {:#x}", index, state.rip);
    return raise(kVectorGp, 0);
  }
  value = *answer;
  return true;
}

// SDM 3A table 11-10.
bool Core::write_pat(u64 value) {
  for (unsigned i = 0; i < 8; ++i) {
    const u64 type = (value >> (8 * i)) & 0xff;
    if (type > 7 || type == 2 || type == 3) return raise(kVectorGp, 0);
  }
  state.pat = value;
  return true;
}

// SDM 3A 2.2.1. LMA is the processor's own.
bool Core::write_efer(u64 value) {
  u64 known = kEferSce | kEferLme | kEferLma;
  if (cpuid.has(Feature::kNx)) known |= kEferNxe;
  const bool changes_lme = ((state.efer ^ value) & kEferLme) != 0;
  if ((value & ~known) != 0 || (changes_lme && (state.cr0 & kCr0Pg) != 0)) return raise(kVectorGp, 0);
  const bool changes_nxe = ((state.efer ^ value) & kEferNxe) != 0;
  state.efer = (value & ~kEferLma) | (state.efer & kEferLma);
  if (changes_nxe) mmu.flush_all();
  update_mode();
  return true;
}

bool Core::write_msr(u32 index, u64 value) {
  u64* slot;
  if (mtrr_slot(index, slot)) {
    // Kept, not enforced.
    if (!is_valid_mtrr(index, value, cpuid.physical_address_bits())) return raise(kVectorGp, 0);
    *slot = value;
    return true;
  }
  if (index >= kMcBankFirst && index < kMcBankFirst + 40) return true;
  if (u64* kept = kept_msr(index)) {
    if (holds_address(index) && !is_canonical(value)) return raise(kVectorGp, 0);
    *kept = value;
    return true;
  }
  switch (index) {
    case kMsrTsc: {
      const u64 delta = value - guest_tsc();
      state.tsc_offset += delta;
      state.tsc_adjust += delta;
      platform.tsc_offset_changed(state.tsc_offset);
      return true;
    }
    case kMsrTscAdjust:
      state.tsc_offset += value - state.tsc_adjust;
      state.tsc_adjust = value;
      platform.tsc_offset_changed(state.tsc_offset);
      return true;
    case kMsrSpecCtrl:
      // Speculation is not modelled: the bits are kept. SDM 4 table 2-2.
      if (!cpuid.has(Feature::kSpecCtrl) || (value & ~u64{7}) != 0) return raise(kVectorGp, 0);
      state.spec_ctrl = value;
      return true;
    case kMsrPredCmd:
      return (cpuid.has(Feature::kSpecCtrl) && (value & ~u64{1}) == 0) || raise(kVectorGp, 0);
    case kMsrBiosSignId:
    case kMsrMicrocodeUpdate:
    case kMsrMcgCtl:
      return true;
    case kMsrSysenterCs:
      state.sysenter_cs = value & 0xffffffff;
      return true;
    case kMsrPat:
      return write_pat(value);
    case kMsrEfer:
      return write_efer(value);
    case kMsrSfmask:
      state.sfmask = value & 0xffffffff;
      return true;
    case kMsrTscAux:
      if (value >> 32 != 0) return raise(kVectorGp, 0);
      state.tsc_aux = static_cast<u32>(value);
      return true;
    default:
      break;
  }
  if (platform.write_msr(index, value)) return true;
  LOG_GUEST("WRMSR of {:#x} to {:#x} refused at {:#x}", value, index, state.rip);
  return raise(kVectorGp, 0);
}

}  // namespace doppel
