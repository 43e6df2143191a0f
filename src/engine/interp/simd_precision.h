// Whether a SIMD floating-point instruction that faults with an unmasked overflow or underflow was also
// inexact.
#pragma once

#include <optional>

#include "engine/interp/op.h"

namespace doppel::interp {

// An unmasked overflow or underflow leaves MXCSR.PE as rounding with an unbounded exponent finds it. SDM
// 1 4.9.1.4, 4.9.1.5. With these exceptions masked, as borrowed code runs, the host rounds to infinity, to
// denormals or to zero, which loses more. Computes the flag anew, in software, for the instruction at hand;
// `memory` is its memory operand, if there is one. Returns true for instructions it does not know.
bool is_simd_result_inexact(const CpuState& state, const Insn& insn, const void* memory);

// VCVTPS2PH: is a result too small for a normal number, which unmasked is an underflow even when it is exact?
bool is_half_result_tiny(const CpuState& state, const Insn& insn);
// VCVTPS2PH that faults with an unmasked overflow or underflow: whether MXCSR.PE is set.
bool is_half_result_inexact(const CpuState& state, const Insn& insn);

// DPPS and DPPD with unmasked exceptions: they are those of a multiplication and two or one additions, each
// of which may fault before the next computes. The MXCSR flags of all steps up to one that faults; nullopt
// when none does.
std::optional<u32> dot_product_exceptions(const CpuState& state, const Insn& insn, const void* memory);

}  // namespace doppel::interp
