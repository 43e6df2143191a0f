// The semantic table: every instruction without a specialised handler, one row and one function each.
#pragma once

#include <Zydis/Zydis.h>

#include <span>

#include "engine/interp/handlers.h"
#include "engine/interp/interpreter.h"

namespace doppel::interp {

struct SemanticRow {
  ZydisMnemonic mnemonic;
  SemanticFunction function;
  bool ends_trace = false;      // always or possibly leaves: nothing is decoded behind it
  bool is_paravirtual = false;  // works whatever CPUID says
  bool is_string = false;       // MOVSD and CMPSD name vector instructions too
};

// The families of rows, one per semantic_*.cc file.
std::span<const SemanticRow> integer_rows();
std::span<const SemanticRow> bit_rows();
std::span<const SemanticRow> string_rows();
std::span<const SemanticRow> stack_rows();
std::span<const SemanticRow> flow_rows();
std::span<const SemanticRow> flag_rows();
std::span<const SemanticRow> segment_rows();
std::span<const SemanticRow> system_rows();
std::span<const SemanticRow> io_rows();
std::span<const SemanticRow> xsave_rows();
std::span<const SemanticRow> vector_rows();

// The row for a mnemonic, or nullptr.
const SemanticRow* find_semantic(ZydisMnemonic mnemonic);
// #UD: whatever the guest's processor does not have.
Flow undefined_instruction(Interpreter& s, const Op& op, const Insn& insn);
// Runs insn.stub (borrowed execution).
Flow run_stub(Interpreter& s, const Op& op, const Insn& insn);

// --- For semantic functions: state.rip is the instruction's address, state.rflags is architectural.

inline Flow fault_of(bool is_ok) { return is_ok ? Flow::kNext : Flow::kFault; }
inline Flow jump_of(bool is_ok) { return is_ok ? Flow::kJump : Flow::kFault; }
inline u64 next_rip(const Interpreter& s, const Op& op) {
  const u64 next = s.state.rip + op.length;
  return s.is_64bit ? next : next & 0xffffffff;
}

// RIP at the start of the trace, for RIP-relative operands.
inline u64 trace_base(const Interpreter& s, const Op& op) { return s.state.rip - op.offset; }
bool memory_address(Interpreter& s, const Op& op, unsigned size, bool is_write, u64& va);
// The largest offset that the operand's address size can say.
u64 address_mask(const Op& op);
// Where `size` bytes from byte `at` of the memory operand on are when the processor addresses them by
// themselves: their offset wraps at the address size.
bool part_address(Interpreter& s, const Op& op, unsigned at, unsigned size, bool is_write, u64& va);
// Whether the memory operand is, without any check of its address.
bool is_aligned(Interpreter& s, const Op& op, unsigned alignment);
// Reads or writes a general register, memory or immediate operand of up to 8 bytes.
bool read_operand(Interpreter& s, const Op& op, const Insn& insn, unsigned index, u64& value);
bool write_operand(Interpreter& s, const Op& op, const Insn& insn, unsigned index, u64 value);
u64 read_gpr(const Interpreter& s, u8 offset, unsigned size);
void write_gpr(Interpreter& s, u8 offset, unsigned size, u64 value);

inline u64 size_mask(unsigned bytes) { return bytes == 8 ? ~u64{0} : (u64{1} << (8 * bytes)) - 1; }
inline i64 sign_extend(u64 value, unsigned bytes) {
  const unsigned shift = 64 - 8 * bytes;
  return static_cast<i64>(value << shift) >> shift;
}
// Replaces the arithmetic flags by those that the host's instruction produced.
inline void set_arithmetic_flags(Interpreter& s, u64 rflags) {
  s.state.rflags = (s.state.rflags & ~x86::kArithmeticFlags) | (rflags & x86::kArithmeticFlags);
}
inline void set_flag(Interpreter& s, u64 flag, bool value) {
  s.state.rflags = value ? s.state.rflags | flag : s.state.rflags & ~flag;
}

}  // namespace doppel::interp
