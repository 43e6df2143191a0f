// SYSCALL, SYSRET, SYSENTER, SYSEXIT. SDM 2B and APM 3; SDM 3A 5.8.7.
#include "cpu/core.h"
#include "cpu/flat_segment.h"

namespace doppel {
bool Core::syscall(u64 next_rip) {
  if ((state.efer & x86::kEferSce) == 0) return raise(x86::kVectorUd);
  // Intel processors offer SYSCALL in 64-bit code only; AMD's also in compatibility and protected mode.
  if (!is_64bit && (!cpuid.is_amd() || !is_protected())) return raise(x86::kVectorUd);
  const u16 selector = static_cast<u16>(state.star >> 32) & 0xfffc;
  const u64 kept_flags = state.rflags & ~x86::kFlagRf;
  if (is_long_mode) {
    state.gpr[x86::kRcx] = next_rip;
    state.gpr[x86::kR11] = kept_flags;
    state.rip = is_64bit ? state.lstar : state.cstar;
    state.rflags = (kept_flags & ~state.sfmask) | x86::kFlagReserved1;
  } else {
    state.gpr[x86::kRcx] = next_rip & 0xffffffff;
    state.rip = state.star & 0xffffffff;
    state.rflags &= ~(x86::kFlagVm | x86::kFlagIf | x86::kFlagRf);
  }
  state.segment(x86::kCs) = flat_code_segment(selector, 0, is_long_mode);
  state.segment(x86::kSs) = flat_data_segment(static_cast<u16>(selector + 8), 0);
  update_mode();
  return true;
}

bool Core::sysret(unsigned operand_size) {
  if ((state.efer & x86::kEferSce) == 0) return raise(x86::kVectorUd);
  if (!is_64bit && (!cpuid.is_amd() || !is_protected())) return raise(x86::kVectorUd);
  if (cpl != 0) return raise(x86::kVectorGp, 0);
  const u16 base = static_cast<u16>(state.star >> 48);
  const bool to_64bit = operand_size == 8 && is_long_mode;
  const u64 rip = to_64bit ? state.gpr[x86::kRcx] : state.gpr[x86::kRcx] & 0xffffffff;
  if (to_64bit && !is_canonical(rip)) return raise(x86::kVectorGp, 0);
  if (is_long_mode)
    state.rflags = (state.gpr[x86::kR11] & 0x3c7fd7) | x86::kFlagReserved1;
  else
    state.rflags |= x86::kFlagIf;
  state.rip = rip;
  state.segment(x86::kCs) =
      flat_code_segment(static_cast<u16>((to_64bit ? base + 16 : base) | 3), 3, to_64bit);
  state.segment(x86::kSs) = flat_data_segment(static_cast<u16>((base + 8) | 3), 3);
  update_mode();
  return true;
}

bool Core::sysenter() {
  if (!is_protected()) return raise(x86::kVectorGp, 0);
  // AMD processors refuse it in long mode.
  if (is_long_mode && cpuid.is_amd()) return raise(x86::kVectorUd);
  if ((state.sysenter_cs & 0xfffc) == 0) return raise(x86::kVectorGp, 0);
  const u16 selector = static_cast<u16>(state.sysenter_cs & 0xfffc);
  state.rflags &= ~(x86::kFlagVm | x86::kFlagIf | x86::kFlagRf);
  const u64 mask = is_long_mode ? ~u64{0} : 0xffffffff;
  state.gpr[x86::kRsp] = state.sysenter_esp & mask;
  state.rip = state.sysenter_eip & mask;
  state.segment(x86::kCs) = flat_code_segment(selector, 0, is_long_mode);
  state.segment(x86::kSs) = flat_data_segment(static_cast<u16>(selector + 8), 0);
  update_mode();
  return true;
}

bool Core::sysexit(unsigned operand_size) {
  if (is_long_mode && cpuid.is_amd()) return raise(x86::kVectorUd);
  if (!is_protected() || cpl != 0 || (state.sysenter_cs & 0xfffc) == 0) return raise(x86::kVectorGp, 0);
  const bool to_64bit = operand_size == 8;
  const u64 rip = state.gpr[x86::kRdx];
  const u64 rsp = state.gpr[x86::kRcx];
  if (to_64bit && (!is_canonical(rip) || !is_canonical(rsp))) return raise(x86::kVectorGp, 0);
  const u16 base = static_cast<u16>(state.sysenter_cs & 0xfffc);
  const u64 mask = to_64bit ? ~u64{0} : 0xffffffff;
  state.rip = rip & mask;
  state.gpr[x86::kRsp] = rsp & mask;
  state.segment(x86::kCs) =
      flat_code_segment(static_cast<u16>((base + (to_64bit ? 32 : 16)) | 3), 3, to_64bit);
  state.segment(x86::kSs) = flat_data_segment(static_cast<u16>((base + (to_64bit ? 40 : 24)) | 3), 3);
  update_mode();
  return true;
}

}  // namespace doppel
