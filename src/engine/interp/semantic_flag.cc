// Instructions on single flags, and LAHF/SAHF. SDM 2A, 2B.
#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

template <u64 kFlag, bool kValue>
Flow assign_flag(Interpreter& s, const Op&, const Insn&) {
  set_flag(s, kFlag, kValue);
  return Flow::kNext;
}

Flow cmc(Interpreter& s, const Op&, const Insn&) {
  s.state.rflags ^= x86::kFlagCf;
  return Flow::kNext;
}

Flow lahf(Interpreter& s, const Op&, const Insn&) {
  write_gpr(s, 1, 1, (s.state.rflags & 0xd5) | 2);
  return Flow::kNext;
}

Flow sahf(Interpreter& s, const Op&, const Insn&) {
  const u64 mask = x86::kFlagSf | x86::kFlagZf | x86::kFlagAf | x86::kFlagPf | x86::kFlagCf;
  s.state.rflags = (s.state.rflags & ~mask) | (read_gpr(s, 1, 1) & mask);
  return Flow::kNext;
}

// May CLI and STI change IF itself, only VIF, or nothing? SDM 2A "CLI", table 3-7.
enum class InterruptFlag { kReal, kVirtual, kForbidden };

InterruptFlag accessible_flag(const Interpreter& s) {
  if (!s.is_protected() || s.iopl() >= s.cpl) return InterruptFlag::kReal;
  if (s.is_v8086())
    return (s.state.cr4 & x86::kCr4Vme) != 0 ? InterruptFlag::kVirtual : InterruptFlag::kForbidden;
  const bool has_pvi = s.cpl == 3 && (s.state.cr4 & x86::kCr4Pvi) != 0;
  return has_pvi ? InterruptFlag::kVirtual : InterruptFlag::kForbidden;
}

Flow cli(Interpreter& s, const Op&, const Insn&) {
  switch (accessible_flag(s)) {
    case InterruptFlag::kReal:
      set_flag(s, x86::kFlagIf, false);
      return Flow::kNext;
    case InterruptFlag::kVirtual:
      set_flag(s, x86::kFlagVif, false);
      return Flow::kNext;
    default:
      s.raise(x86::kVectorGp, 0);
      return Flow::kFault;
  }
}

Flow sti(Interpreter& s, const Op& op, const Insn&) {
  switch (accessible_flag(s)) {
    case InterruptFlag::kReal:
      break;
    case InterruptFlag::kVirtual:
      if ((s.state.rflags & x86::kFlagVip) != 0) return s.raise(x86::kVectorGp, 0), Flow::kFault;
      set_flag(s, x86::kFlagVif, true);
      return Flow::kNext;
    default:
      s.raise(x86::kVectorGp, 0);
      return Flow::kFault;
  }
  if ((s.state.rflags & x86::kFlagIf) != 0) return Flow::kNext;
  set_flag(s, x86::kFlagIf, true);
  // The shadow covers the next instruction. It needs to be explicit only when an interrupt could follow the
  // instruction after it: they are polled between traces only. SDM 3A 6.8.1.
  if (op.remaining > 1 && !s.may_have_interrupt()) return Flow::kNext;
  s.state.shadow = kShadowSti;
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

// CLAC and STAC select another software TLB, nothing more.
template <bool kValue>
Flow assign_ac(Interpreter& s, const Op&, const Insn&) {
  if (s.cpl != 0) return s.raise(x86::kVectorUd), Flow::kFault;
  set_flag(s, x86::kFlagAc, kValue);
  s.refresh();
  return Flow::kNext;
}

constexpr SemanticRow kRows[] = {
    {ZYDIS_MNEMONIC_CLC, &assign_flag<x86::kFlagCf, false>},
    {ZYDIS_MNEMONIC_STC, &assign_flag<x86::kFlagCf, true>},
    {ZYDIS_MNEMONIC_CMC, &cmc},
    {ZYDIS_MNEMONIC_CLD, &assign_flag<x86::kFlagDf, false>},
    {ZYDIS_MNEMONIC_STD, &assign_flag<x86::kFlagDf, true>},
    {ZYDIS_MNEMONIC_LAHF, &lahf},
    {ZYDIS_MNEMONIC_SAHF, &sahf},
    {ZYDIS_MNEMONIC_CLI, &cli},
    {ZYDIS_MNEMONIC_STI, &sti},
    {ZYDIS_MNEMONIC_CLAC, &assign_ac<false>},
    {ZYDIS_MNEMONIC_STAC, &assign_ac<true>},
};

}  // namespace

std::span<const SemanticRow> flag_rows() { return kRows; }

}  // namespace doppel::interp
