// Privileged and sensitive instructions: descriptor tables, MSRs, TLB, CPUID, system calls, HLT. SDM 2A-2D.
#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

// --- Descriptor-table registers

// CR4.UMIP makes SGDT, SIDT, SLDT, SMSW and STR fault outside ring 0. SDM 3A 2.5.
bool umip_allows(Interpreter& s) {
  return (s.state.cr4 & x86::kCr4Umip) == 0 || s.cpl == 0 || s.raise(x86::kVectorGp, 0);
}

template <bool kInterrupt>
Flow store_table(Interpreter& s, const Op& op, const Insn&) {
  if (!umip_allows(s)) return Flow::kFault;
  const DescriptorTable& table = kInterrupt ? s.state.idtr : s.state.gdtr;
  const unsigned base_size = s.is_64bit ? 8 : 4;
  u8 image[10] = {};
  __builtin_memcpy(image, &table.limit, 2);
  __builtin_memcpy(image + 2, &table.base, base_size);
  u64 va;
  return fault_of(memory_address(s, op, 2 + base_size, true, va) &&
                  s.write_linear(va, image, 2 + base_size, s.access_mode));
}

template <bool kInterrupt>
Flow load_table(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.is_v8086() || !s.require_cpl0()) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  const unsigned base_size = s.is_64bit ? 8 : 4;
  u64 va;
  u8 image[10];
  if (!memory_address(s, op, 2 + base_size, false, va) ||
      !s.read_linear(va, image, 2 + base_size, s.access_mode)) {
    return Flow::kFault;
  }
  DescriptorTable table;
  __builtin_memcpy(&table.limit, image, 2);
  __builtin_memcpy(&table.base, image + 2, base_size);
  if (!s.is_64bit && insn.operand_size == 2) table.base &= 0xffffff;
  if (s.is_64bit && !s.is_canonical(table.base)) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  (kInterrupt ? s.state.idtr : s.state.gdtr) = table;
  return Flow::kNext;
}

Flow store_selector(Interpreter& s, const Op& op, const Insn& insn, u16 selector) {
  const Operand& to = insn.operands[0];
  if (to.kind == OperandKind::kGpr) {
    write_gpr(s, to.reg, to.size, selector);
    return Flow::kNext;
  }
  u64 va;
  return fault_of(memory_address(s, op, 2, true, va) && s.write_linear(va, &selector, 2, s.access_mode));
}

Flow sldt(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.is_real_or_v8086()) return undefined_instruction(s, op, insn);
  if (!umip_allows(s)) return Flow::kFault;
  return store_selector(s, op, insn, s.state.ldtr.selector);
}

Flow str(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.is_real_or_v8086()) return undefined_instruction(s, op, insn);
  if (!umip_allows(s)) return Flow::kFault;
  return store_selector(s, op, insn, s.state.tr.selector);
}

template <bool kTask>
Flow load_system_segment(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.is_real_or_v8086()) return undefined_instruction(s, op, insn);
  u64 selector;
  if (!s.require_cpl0() || !read_operand(s, op, insn, 0, selector)) return Flow::kFault;
  const u16 value = static_cast<u16>(selector);
  return fault_of(kTask ? s.load_tr(value) : s.load_ldtr(value));
}

// --- Machine status word, task-switched flag

Flow smsw(Interpreter& s, const Op& op, const Insn& insn) {
  if (!umip_allows(s)) return Flow::kFault;
  const Operand& to = insn.operands[0];
  if (to.kind == OperandKind::kMemory) return store_selector(s, op, insn, static_cast<u16>(s.state.cr0));
  write_gpr(s, to.reg, to.size, s.state.cr0);
  return Flow::kNext;
}

Flow lmsw(Interpreter& s, const Op& op, const Insn& insn) {
  u64 value;
  if (!s.require_cpl0() || !read_operand(s, op, insn, 0, value)) return Flow::kFault;
  // LMSW sets PE but cannot clear it. SDM 2A "LMSW".
  const u64 cr0 = (s.state.cr0 & ~u64{0xe}) | (value & 0xf);
  if (!s.set_cr0(cr0)) return Flow::kFault;
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

Flow clts(Interpreter& s, const Op&, const Insn&) {
  if (!s.require_cpl0()) return Flow::kFault;
  s.state.cr0 &= ~x86::kCr0Ts;
  s.refresh();
  return Flow::kNext;
}

// --- CPUID, time, MSRs

Flow cpuid(Interpreter& s, const Op&, const Insn&) {
  auto& gpr = s.state.gpr;
  const x86::CpuidResult result =
      s.query_cpuid(static_cast<u32>(gpr[x86::kRax]), static_cast<u32>(gpr[x86::kRcx]));
  gpr[x86::kRax] = result.eax;
  gpr[x86::kRbx] = result.ebx;
  gpr[x86::kRcx] = result.ecx;
  gpr[x86::kRdx] = result.edx;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);  // it serializes, as a program may rely on. SDM 3A 8.3
  return Flow::kNext;
}

bool tsc_allowed(Interpreter& s) {
  return (s.state.cr4 & x86::kCr4Tsd) == 0 || s.cpl == 0 || s.raise(x86::kVectorGp, 0);
}

Flow read_tsc(Interpreter& s, const Op&, const Insn& insn) {
  if (!tsc_allowed(s)) return Flow::kFault;
  const u64 value = s.guest_tsc();
  s.state.gpr[x86::kRax] = value & 0xffffffff;
  s.state.gpr[x86::kRdx] = value >> 32;
  if (insn.mnemonic == ZYDIS_MNEMONIC_RDTSCP) s.state.gpr[x86::kRcx] = s.state.tsc_aux;
  return Flow::kNext;
}

Flow rdpid(Interpreter& s, const Op&, const Insn& insn) {
  write_gpr(s, insn.operands[0].reg, s.is_64bit ? 8 : 4, s.state.tsc_aux);
  return Flow::kNext;
}

// No performance counters: every index is out of range. SDM 2B "RDPMC".
Flow rdpmc(Interpreter& s, const Op&, const Insn&) {
  s.raise(x86::kVectorGp, 0);
  return Flow::kFault;
}

Flow rdmsr(Interpreter& s, const Op&, const Insn&) {
  u64 value;
  if (!s.require_cpl0() || !s.read_msr(static_cast<u32>(s.state.gpr[x86::kRcx]), value)) return Flow::kFault;
  s.state.gpr[x86::kRax] = value & 0xffffffff;
  s.state.gpr[x86::kRdx] = value >> 32;
  return Flow::kNext;
}

Flow wrmsr(Interpreter& s, const Op& op, const Insn&) {
  const u64 value = (s.state.gpr[x86::kRdx] << 32) | (s.state.gpr[x86::kRax] & 0xffffffff);
  const u32 index = static_cast<u32>(s.state.gpr[x86::kRcx]);
  if (!s.require_cpl0() || !s.write_msr(index, value)) return Flow::kFault;
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

Flow xgetbv(Interpreter& s, const Op& op, const Insn& insn) {
  if ((s.state.cr4 & x86::kCr4Osxsave) == 0) return undefined_instruction(s, op, insn);
  const u32 index = static_cast<u32>(s.state.gpr[x86::kRcx]);
  // XCR1: components in use; all that are enabled may be. SDM 1 13.2.
  if (index > 1 || (index == 1 && !s.cpuid.has(x86::Feature::kXgetbv1)))
    return s.raise(x86::kVectorGp, 0), Flow::kFault;
  s.state.gpr[x86::kRax] = s.state.xcr0 & 0xffffffff;
  s.state.gpr[x86::kRdx] = s.state.xcr0 >> 32;
  return Flow::kNext;
}

Flow xsetbv(Interpreter& s, const Op& op, const Insn& insn) {
  if ((s.state.cr4 & x86::kCr4Osxsave) == 0) return undefined_instruction(s, op, insn);
  const u64 value = (s.state.gpr[x86::kRdx] << 32) | (s.state.gpr[x86::kRax] & 0xffffffff);
  if (!s.write_xcr(static_cast<u32>(s.state.gpr[x86::kRcx]), value)) return Flow::kFault;
  s.refresh();
  return Flow::kNext;
}

// --- TLB and caches

Flow invlpg(Interpreter& s, const Op& op, const Insn&) {
  if (!s.require_cpl0()) return Flow::kFault;
  u64 va = any_offset(&s, &op, trace_base(s, op));
  if (!s.is_64bit || op.segment >= x86::kFs) va += s.state.segment(op.segment).base;
  if (!s.is_64bit) va &= 0xffffffff;
  // A non-canonical address does nothing. SDM 2A "INVLPG".
  if (!s.is_64bit || s.is_canonical(va)) s.mmu.flush_page(GuestVirt(va));
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

Flow invpcid(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.is_v8086() || !s.require_cpl0()) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  const u64 type = read_gpr(s, insn.operands[0].reg, s.is_64bit ? 8 : 4);
  u64 va;
  u64 descriptor[2];
  if (!memory_address(s, op, 16, false, va) || !s.read_linear(va, descriptor, 16, s.access_mode))
    return Flow::kFault;
  const bool has_pcid = (s.state.cr4 & x86::kCr4Pcide) != 0;
  const bool is_bad = type > 3 || (descriptor[0] >> 12) != 0 ||
                      (type < 2 && !has_pcid && (descriptor[0] & 0xfff) != 0) ||
                      (type == 0 && !s.is_canonical(descriptor[1]));
  if (is_bad) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  switch (type) {
    case 0:
      s.mmu.flush_page(GuestVirt(descriptor[1]));
      break;
    case 1:
      s.mmu.flush_context(static_cast<u16>(descriptor[0]));
      break;
    default:
      s.mmu.flush_all();
      break;
  }
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

Flow cache_flush(Interpreter& s, const Op&, const Insn&) { return fault_of(s.require_cpl0()); }

// CLFLUSH and its kin touch their operand like a one-byte load; the caches are the host's business.
Flow touch_line(Interpreter& s, const Op& op, const Insn&) {
  u64 va;
  u8 byte;
  return fault_of(memory_address(s, op, 1, false, va) && s.read_linear(va, &byte, 1, s.access_mode));
}

Flow no_operation(Interpreter&, const Op&, const Insn&) { return Flow::kNext; }

// NOPs without a handler of their own: PREFETCH with a register is one on Intel's processors and undefined on
// AMD's. APM 3 "PREFETCH".
Flow prefetch_register(Interpreter& s, const Op& op, const Insn& insn) {
  return s.cpuid.is_amd() ? undefined_instruction(s, op, insn) : Flow::kNext;
}

// F3 90 whose REX prefix names R8: AMD's processors see an XCHG, Intel's a PAUSE.
bool is_exchange_of_r8(const Interpreter& s, const Op& op, const Insn& insn) {
  constexpr u8 kRexB = 0x41;
  constexpr u8 kRexMask = 0xf1;
  return s.is_64bit && s.cpuid.is_amd() && op.length > 2 && (insn.bytes[op.length - 2] & kRexMask) == kRexB;
}

// In a spin loop another vCPU may need the host CPU: now and then, as it costs a system call.
Flow pause(Interpreter& s, const Op& op, const Insn& insn) {
  if (is_exchange_of_r8(s, op, insn)) {
    const u64 old = read_gpr(s, x86::kR8 * 8, insn.operand_size);
    write_gpr(s, x86::kR8 * 8, insn.operand_size, read_gpr(s, x86::kRax * 8, insn.operand_size));
    write_gpr(s, x86::kRax * 8, insn.operand_size, old);
    return Flow::kNext;
  }
  constexpr u32 kPausesBeforeRelaxing = 32;
  if (++s.pauses % kPausesBeforeRelaxing == 0) s.platform.relax();
  return Flow::kNext;
}

Flow memory_fence(Interpreter&, const Op&, const Insn&) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  return Flow::kNext;
}

// WAIT: #NM is for CR0.MP to allow, unlike with the other x87 instructions. SDM 2D "WAIT/FWAIT".
Flow wait(Interpreter& s, const Op&, const Insn&) {
  constexpr u64 kBlocked = x86::kCr0Mp | x86::kCr0Ts;
  if ((s.state.cr0 & kBlocked) == kBlocked) return s.raise(x86::kVectorNm), Flow::kFault;
  if (has_pending_x87_exception(s.state.fx)) return s.raise(x86::kVectorMf), Flow::kFault;
  return Flow::kNext;
}

// --- Halting and monitoring

Flow hlt(Interpreter& s, const Op& op, const Insn&) {
  if (!s.require_cpl0()) return Flow::kFault;
  s.state.activity = Activity::kHalted;
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

Flow monitor(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.cpl != 0) return undefined_instruction(s, op, insn);
  if ((s.state.gpr[x86::kRcx] & 0xffffffff) != 0) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  u64 offset = s.state.gpr[x86::kRax];
  if ((op.address_mode & kAddressSizeMask) == kAddress32) offset &= 0xffffffff;
  if ((op.address_mode & kAddressSizeMask) == kAddress16) offset &= 0xffff;
  u64 va;
  u8 byte;
  if (!s.linear_address(op.segment, offset, 1, false, va) || !s.read_linear(va, &byte, 1, s.access_mode)) {
    return Flow::kFault;
  }
  s.state.monitor_armed = true;
  return Flow::kNext;
}

// MWAIT may end at any time: the monitored line could have been written. SDM 2B "MWAIT".
Flow mwait(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.cpl != 0) return undefined_instruction(s, op, insn);
  if ((s.state.gpr[x86::kRcx] & 0xfffffffe) != 0) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  s.state.monitor_armed = false;
  return Flow::kNext;
}

// --- System calls

Flow syscall(Interpreter& s, const Op& op, const Insn&) {
  const bool was_stepping = (s.state.rflags & x86::kFlagTf) != 0;
  const bool is_ok = s.syscall(next_rip(s, op));
  s.suppress_step = was_stepping && (s.state.rflags & x86::kFlagTf) == 0;
  return jump_of(is_ok);
}
Flow sysret(Interpreter& s, const Op&, const Insn& insn) { return jump_of(s.sysret(insn.operand_size)); }
Flow sysenter(Interpreter& s, const Op&, const Insn&) { return jump_of(s.sysenter()); }
Flow sysexit(Interpreter& s, const Op&, const Insn& insn) { return jump_of(s.sysexit(insn.operand_size)); }

// VMCALL and VMMCALL: the KVM hypercall interface, from ring 0 only.
Flow hypercall(Interpreter& s, const Op& op, const Insn& insn) {
  if (s.is_real_or_v8086()) return undefined_instruction(s, op, insn);
  auto& gpr = s.state.gpr;
  static constexpr u64 kNotPermitted = static_cast<u64>(-1);  // -KVM_EPERM
  if (s.cpl != 0) {
    gpr[x86::kRax] = kNotPermitted;
    return Flow::kNext;
  }
  const u64 mask = s.is_64bit ? ~u64{0} : 0xffffffff;
  const u64 arguments[4] = {gpr[x86::kRbx] & mask, gpr[x86::kRcx] & mask, gpr[x86::kRdx] & mask,
                            gpr[x86::kRsi] & mask};
  gpr[x86::kRax] = s.platform.hypercall(gpr[x86::kRax] & mask, arguments) & mask;
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

// RDRAND and RDSEED always succeed: CF set, the other flags clear.
Flow random(Interpreter& s, const Op&, const Insn& insn) {
  write_gpr(s, insn.operands[0].reg, insn.operands[0].size, s.platform.entropy());
  set_arithmetic_flags(s, x86::kFlagCf);
  return Flow::kNext;
}

constexpr SemanticRow kRows[] = {
    {ZYDIS_MNEMONIC_SGDT, &store_table<false>},
    {ZYDIS_MNEMONIC_SIDT, &store_table<true>},
    {ZYDIS_MNEMONIC_LGDT, &load_table<false>},
    {ZYDIS_MNEMONIC_LIDT, &load_table<true>},
    {ZYDIS_MNEMONIC_SLDT, &sldt},
    {ZYDIS_MNEMONIC_STR, &str},
    {ZYDIS_MNEMONIC_LLDT, &load_system_segment<false>},
    {ZYDIS_MNEMONIC_LTR, &load_system_segment<true>},
    {ZYDIS_MNEMONIC_SMSW, &smsw},
    {ZYDIS_MNEMONIC_LMSW, &lmsw, true},
    {ZYDIS_MNEMONIC_CLTS, &clts},
    {ZYDIS_MNEMONIC_CPUID, &cpuid},
    {ZYDIS_MNEMONIC_RDTSC, &read_tsc},
    {ZYDIS_MNEMONIC_RDTSCP, &read_tsc},
    {ZYDIS_MNEMONIC_RDPID, &rdpid},
    {ZYDIS_MNEMONIC_RDPMC, &rdpmc},
    {ZYDIS_MNEMONIC_RDMSR, &rdmsr},
    {ZYDIS_MNEMONIC_WRMSR, &wrmsr, true},
    {ZYDIS_MNEMONIC_XGETBV, &xgetbv},
    {ZYDIS_MNEMONIC_XSETBV, &xsetbv},
    {ZYDIS_MNEMONIC_INVLPG, &invlpg, true},
    {ZYDIS_MNEMONIC_INVPCID, &invpcid, true},
    {ZYDIS_MNEMONIC_INVD, &cache_flush},
    {ZYDIS_MNEMONIC_WBINVD, &cache_flush},
    {ZYDIS_MNEMONIC_CLFLUSH, &touch_line},
    {ZYDIS_MNEMONIC_CLFLUSHOPT, &touch_line},
    {ZYDIS_MNEMONIC_CLWB, &touch_line},
    {ZYDIS_MNEMONIC_PREFETCH, &no_operation},
    {ZYDIS_MNEMONIC_PREFETCHNTA, &no_operation},
    {ZYDIS_MNEMONIC_PREFETCHT0, &no_operation},
    {ZYDIS_MNEMONIC_PREFETCHT1, &no_operation},
    {ZYDIS_MNEMONIC_PREFETCHT2, &no_operation},
    {ZYDIS_MNEMONIC_PREFETCHW, &no_operation},
    {ZYDIS_MNEMONIC_PREFETCHWT1, &no_operation},
    {ZYDIS_MNEMONIC_NOP, &prefetch_register},
    {ZYDIS_MNEMONIC_PAUSE, &pause},
    {ZYDIS_MNEMONIC_LFENCE, &memory_fence},
    {ZYDIS_MNEMONIC_SFENCE, &memory_fence},
    {ZYDIS_MNEMONIC_MFENCE, &memory_fence},
    {ZYDIS_MNEMONIC_SERIALIZE, &memory_fence},
    {ZYDIS_MNEMONIC_FWAIT, &wait},
    {ZYDIS_MNEMONIC_HLT, &hlt, true},
    {ZYDIS_MNEMONIC_MONITOR, &monitor},
    {ZYDIS_MNEMONIC_MWAIT, &mwait},
    {ZYDIS_MNEMONIC_SYSCALL, &syscall, true},
    {ZYDIS_MNEMONIC_SYSRET, &sysret, true},
    {ZYDIS_MNEMONIC_SYSENTER, &sysenter, true},
    {ZYDIS_MNEMONIC_SYSEXIT, &sysexit, true},
    {ZYDIS_MNEMONIC_VMCALL, &hypercall, true, true},
    {ZYDIS_MNEMONIC_VMMCALL, &hypercall, true, true},
    {ZYDIS_MNEMONIC_RDRAND, &random},
    {ZYDIS_MNEMONIC_RDSEED, &random},
    {ZYDIS_MNEMONIC_UD0, &undefined_instruction, true},
    {ZYDIS_MNEMONIC_UD1, &undefined_instruction, true},
    {ZYDIS_MNEMONIC_UD2, &undefined_instruction, true},
};

}  // namespace

std::span<const SemanticRow> system_rows() { return kRows; }

}  // namespace doppel::interp
