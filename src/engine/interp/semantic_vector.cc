// x87, MMX, SSE and AVX: borrowed execution, and the few vector instructions that cannot be borrowed.
#include <cstring>

#include "base/verify.h"
#include "engine/interp/borrowed.h"
#include "engine/interp/semantic.h"
#include "engine/interp/simd_precision.h"
#include "engine/interp/vector_operand.h"

namespace doppel::interp {
namespace {

// Does the guest allow this class of instruction now? SDM 1 10.5, 13.1; SDM 3A 2.5, 13.1.
bool check_enabled(Interpreter& s, const BorrowedStub& stub) {
  const u64 cr0 = s.state.cr0;
  if (stub.is_vex && s.is_real_or_v8086()) return s.raise(x86::kVectorUd);
  if (stub.uses_avx) {
    const u64 needed = x86::kXcr0Sse | x86::kXcr0Avx;
    const bool is_on = (s.state.cr4 & x86::kCr4Osxsave) != 0 && (s.state.xcr0 & needed) == needed;
    if (!is_on) return s.raise(x86::kVectorUd);
    return (cr0 & x86::kCr0Ts) == 0 || s.raise(x86::kVectorNm);
  }
  if (stub.uses_sse) {
    if ((cr0 & x86::kCr0Em) != 0 || (s.state.cr4 & x86::kCr4Osfxsr) == 0) return s.raise(x86::kVectorUd);
    return (cr0 & x86::kCr0Ts) == 0 || s.raise(x86::kVectorNm);
  }
  if (stub.uses_mmx) {
    if ((cr0 & x86::kCr0Em) != 0) return s.raise(x86::kVectorUd);
    return (cr0 & x86::kCr0Ts) == 0 || s.raise(x86::kVectorNm);
  }
  if (stub.uses_x87) return (cr0 & (x86::kCr0Em | x86::kCr0Ts)) == 0 || s.raise(x86::kVectorNm);
  return true;
}

Flow vzero(Interpreter& s, const Op&, const Insn& insn) {
  BorrowedStub stub;
  stub.is_vex = stub.uses_avx = true;
  if (!check_enabled(s, stub)) return Flow::kFault;
  if (insn.mnemonic == ZYDIS_MNEMONIC_VZEROALL)
    zero_all_vectors(s.state, s.is_64bit);
  else
    zero_upper_vectors(s.state, s.is_64bit);
  return Flow::kNext;
}

template <bool kVex>
BorrowedStub mxcsr_class() {
  BorrowedStub stub;
  stub.is_vex = stub.uses_avx = kVex;
  stub.uses_sse = !kVex;
  return stub;
}

template <bool kVex>
Flow load_mxcsr(Interpreter& s, const Op& op, const Insn& insn) {
  u64 value;
  if (!check_enabled(s, mxcsr_class<kVex>()) || !read_operand(s, op, insn, 0, value)) return Flow::kFault;
  if ((value & ~u64{s.state.fx.mxcsr_mask}) != 0) return s.raise(x86::kVectorGp, 0), Flow::kFault;
  s.state.fx.mxcsr = static_cast<u32>(value);
  return Flow::kNext;
}

template <bool kVex>
Flow store_mxcsr(Interpreter& s, const Op& op, const Insn& insn) {
  if (!check_enabled(s, mxcsr_class<kVex>())) return Flow::kFault;
  return fault_of(write_operand(s, op, insn, 0, s.state.fx.mxcsr));
}

// VGATHERxxx, VPGATHERxxx: elements are loaded one by one, and a fault keeps those already loaded, with their
// mask bits cleared. SDM 2C.
template <unsigned kIndexSize, unsigned kElementSize>
Flow gather(Interpreter& s, const Op& op, const Insn& insn) {
  BorrowedStub stub;
  stub.is_vex = stub.uses_avx = true;
  if (!check_enabled(s, stub)) return Flow::kFault;
  const u8 destination = insn.operands[0].reg;
  const u8 mask = insn.operands[2].reg;
  const u8 index = op.index;
  // The same register twice is undefined.
  if (destination == mask || destination == index || mask == index) return undefined_instruction(s, op, insn);
  const unsigned largest = kIndexSize > kElementSize ? kIndexSize : kElementSize;
  const unsigned count = insn.vector_length / largest;
  auto* target = reinterpret_cast<u8*>(&s.state.ymm[destination]);
  auto* masks = reinterpret_cast<u8*>(&s.state.ymm[mask]);
  const auto* indices = reinterpret_cast<const u8*>(&s.state.ymm[index]);
  for (unsigned i = 0; i < count; ++i) {
    if ((masks[(i + 1) * kElementSize - 1] & 0x80) == 0) continue;
    u64 raw = 0;
    std::memcpy(&raw, indices + i * kIndexSize, kIndexSize);
    u64 offset = slot_value(&s, op.base) + (static_cast<u64>(sign_extend(raw, kIndexSize)) << op.scale) +
                 op.displacement;
    if ((op.address_mode & kAddressSizeMask) == kAddress32) offset &= 0xffffffff;
    u64 va;
    u64 value = 0;
    if (!s.linear_address(op.segment, offset, kElementSize, false, va) ||
        !s.read_linear(va, &value, kElementSize, s.access_mode)) {
      return Flow::kFault;
    }
    std::memcpy(target + i * kElementSize, &value, kElementSize);
    std::memset(masks + i * kElementSize, 0, kElementSize);
  }
  std::memset(masks, 0, sizeof(Ymm));
  const unsigned written = count * kElementSize;
  std::memset(target + written, 0, sizeof(Ymm) - written);
  return Flow::kNext;
}

constexpr SemanticRow kRows[] = {
    {ZYDIS_MNEMONIC_LDMXCSR, &load_mxcsr<false>}, {ZYDIS_MNEMONIC_STMXCSR, &store_mxcsr<false>},
    {ZYDIS_MNEMONIC_VLDMXCSR, &load_mxcsr<true>}, {ZYDIS_MNEMONIC_VSTMXCSR, &store_mxcsr<true>},
    {ZYDIS_MNEMONIC_VZEROUPPER, &vzero},          {ZYDIS_MNEMONIC_VZEROALL, &vzero},
    {ZYDIS_MNEMONIC_VGATHERDPS, &gather<4, 4>},   {ZYDIS_MNEMONIC_VGATHERDPD, &gather<4, 8>},
    {ZYDIS_MNEMONIC_VGATHERQPS, &gather<8, 4>},   {ZYDIS_MNEMONIC_VGATHERQPD, &gather<8, 8>},
    {ZYDIS_MNEMONIC_VPGATHERDD, &gather<4, 4>},   {ZYDIS_MNEMONIC_VPGATHERDQ, &gather<4, 8>},
    {ZYDIS_MNEMONIC_VPGATHERQD, &gather<8, 4>},   {ZYDIS_MNEMONIC_VPGATHERQQ, &gather<8, 8>},
};

void update_x87_pointers(Interpreter& s, const Op& op, const Insn& insn) {
  const BorrowedStub& stub = *insn.stub;
  if (!stub.uses_x87) return;
  const X87Location location{
      .instruction_offset = s.state.rip,
      .data_offset = stub.memory_size != 0 ? any_offset(&s, &op, trace_base(s, op)) : 0,
      .opcode = static_cast<u16>(insn.immediate)};
  borrowed_fixup_x87(stub, s.state, location);
}

// Precision is the one exception whose unmasked response stores the result first. SDM 1 8.5.
constexpr unsigned kStoppingX87Exceptions = 0x1f;

// An unmasked exception may keep the result from being stored.
bool may_suppress_store(const BorrowedStub& stub, const FxsaveArea& fx) {
  return stub.uses_x87 && stub.writes_memory && stub.waits_x87 && stub.x87_image == X87Image::kNone &&
         (~fx.fcw & kStoppingX87Exceptions) != 0;
}

// AMD's processors check the destination before the operation computes: a fault of the store is found
// although an exception would suppress it, and no flags are set. Intel's do not touch memory until there is a
// result.
bool check_destination_early(Interpreter& s, const Op& op, const BorrowedStub& stub) {
  return !s.cpuid.is_amd() || probe_operand(s, op, stub);
}

// A suppressed store does not touch memory at all, so it is known first whether there is one.
Flow run_x87_store(Interpreter& s, const Op& op, const Insn& insn) {
  const BorrowedStub& stub = *insn.stub;
  if (!check_destination_early(s, op, stub)) return Flow::kFault;
  const FxsaveArea before = s.state.fx;
  alignas(16) u8 result[kMaxVectorOperand] = {};
  VERIFY(run_borrowed(stub, s.state, result, nullptr) == BorrowedResult::kDone);
  const bool is_stored = (s.state.fx.fsw & ~s.state.fx.fcw & kStoppingX87Exceptions) == 0;
  if (is_stored && !store_operand(s, op, stub, result)) {
    s.state.fx = before;
    return Flow::kFault;
  }
  update_x87_pointers(s, op, insn);
  return Flow::kNext;
}

Flow raise_simd(Interpreter& s) {
  s.raise((s.state.cr4 & x86::kCr4Osxmmexcpt) != 0 ? x86::kVectorXm : x86::kVectorUd);
  return Flow::kFault;
}

constexpr u32 kMxcsrPrecision = 1u << 5;
constexpr u32 kMxcsrWideMasks = 3u << 10;  // overflow and underflow
constexpr u32 kMxcsrMasks = 0x1f80;

// The instruction faults and the flags are set, but PE may be wrong. `old` is MXCSR before the instruction,
// whose operands are as they were.
void correct_precision(Interpreter& s, const Insn& insn, const void* memory, u32 old) {
  const bool is_new = (s.state.fx.mxcsr & ~old & kMxcsrPrecision) != 0;
  if (!is_new || (old & kMxcsrWideMasks) == kMxcsrWideMasks) return;
  if (!is_simd_result_inexact(s.state, insn, memory)) s.state.fx.mxcsr &= ~kMxcsrPrecision;
}

constexpr u32 kMxcsrFlags = 0x3f;
constexpr unsigned kMxcsrMaskShift = 7;
constexpr u32 kMxcsrBeforeComputing = 0x7;
constexpr u32 kMxcsrOverflow = 1u << 3;
constexpr u32 kMxcsrUnderflow = 1u << 4;

// VCVTPS2PH: the conversion, its exceptions and MXCSR's flags come before a store and its faults, on Intel's
// processors.
Flow convert_to_half(Interpreter& s, const Op& op, const Insn& insn) {
  const BorrowedStub& stub = *insn.stub;
  if (stub.writes_memory && !check_destination_early(s, op, stub)) return Flow::kFault;
  alignas(16) u8 result[kMaxVectorOperand] = {};
  u32& mxcsr = s.state.fx.mxcsr;
  const u32 old = mxcsr;
  const u32 enabled = ~(old >> kMxcsrMaskShift) & kMxcsrFlags;
  Ymm& target = s.state.ymm[insn.operands[0].reg];
  const Ymm before = target;
  const bool is_tiny = (enabled & kMxcsrUnderflow) != 0 && is_half_result_tiny(s.state, insn);
  mxcsr &= ~kMxcsrFlags;
  bool is_faulting = run_borrowed(stub, s.state, result, nullptr) != BorrowedResult::kDone;
  const bool is_early = is_faulting && (mxcsr & enabled & kMxcsrBeforeComputing) != 0;
  const bool may_be_exact =
      !is_early && (is_tiny || (is_faulting && (mxcsr & enabled & kMxcsrOverflow) != 0));
  if (may_be_exact && !is_half_result_inexact(s.state, insn)) mxcsr &= ~kMxcsrPrecision;
  mxcsr |= old | (is_tiny && !is_early ? kMxcsrUnderflow : 0);
  if (is_faulting || is_tiny) {
    if (!stub.writes_memory) target = before;
    return raise_simd(s);
  }
  return fault_of(!stub.writes_memory || store_operand(s, op, stub, result));
}

bool is_dot_product(const Insn& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_DPPS || insn.mnemonic == ZYDIS_MNEMONIC_VDPPS ||
         insn.mnemonic == ZYDIS_MNEMONIC_DPPD || insn.mnemonic == ZYDIS_MNEMONIC_VDPPD;
}

// With unmasked SIMD exceptions: true when the instruction faults, with MXCSR's flags set.
bool raises_simd(Interpreter& s, const Insn& insn, const void* memory) {
  if (!is_dot_product(insn)) return false;
  const std::optional<u32> raised = dot_product_exceptions(s.state, insn, memory);
  if (!raised) return false;
  s.state.fx.mxcsr |= *raised;
  return true;
}

}  // namespace

Flow run_stub(Interpreter& s, const Op& op, const Insn& insn) {
  const BorrowedStub& stub = *insn.stub;
  if (!check_enabled(s, stub)) return Flow::kFault;
  // A pending x87 exception comes before any fault of the operand. Without CR0.NE a PC routes it to IRQ 13;
  // no such line is wired, so it stays pending.
  if (stub.waits_x87 && has_pending_x87_exception(s.state.fx)) return s.raise(x86::kVectorMf), Flow::kFault;
  if (may_suppress_store(stub, s.state.fx)) return run_x87_store(s, op, insn);
  const u32 mxcsr = s.state.fx.mxcsr;
  const bool may_fault = stub.may_raise_simd && (mxcsr & kMxcsrMasks) != kMxcsrMasks;
  if (insn.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH && (may_fault || stub.writes_memory))
    return convert_to_half(s, op, insn);
  OperandMemory memory;
  if (!prepare_operand(s, op, stub, memory)) return Flow::kFault;
  u64 flags = s.state.rflags;
  if (may_fault && raises_simd(s, insn, memory.host)) return raise_simd(s);
  if (run_borrowed(stub, s.state, memory.host, &flags) != BorrowedResult::kDone) {
    correct_precision(s, insn, memory.host, mxcsr);
    return raise_simd(s);
  }
  if (!finish_operand(s, op, stub, memory)) return Flow::kFault;
  if (stub.writes_flags) set_arithmetic_flags(s, flags);
  update_x87_pointers(s, op, insn);
  return Flow::kNext;
}

std::span<const SemanticRow> vector_rows() { return kRows; }

}  // namespace doppel::interp
