// IN and OUT. SDM 2A, 2B.
#include "engine/interp/semantic.h"

namespace doppel::interp {
namespace {

u16 port_of(const Interpreter& s, const Operand& operand, const Insn& insn) {
  return static_cast<u16>(operand.kind == OperandKind::kImmediate ? insn.immediate & 0xff
                                                                  : s.state.gpr[x86::kRdx]);
}

Flow in(Interpreter& s, const Op&, const Insn& insn) {
  const unsigned size = insn.operands[0].size;
  const u16 port = port_of(s, insn.operands[1], insn);
  if (!s.check_io(port, size)) return Flow::kFault;
  write_gpr(s, x86::kRax * 8, size, s.platform.read_port(port, size));
  return Flow::kNext;
}

// A write can change anything about the machine: the dispatcher looks before the next instruction.
Flow out(Interpreter& s, const Op& op, const Insn& insn) {
  const unsigned size = insn.operands[1].size;
  const u16 port = port_of(s, insn.operands[0], insn);
  if (!s.check_io(port, size)) return Flow::kFault;
  s.platform.write_port(port, size, static_cast<u32>(read_gpr(s, x86::kRax * 8, size)));
  s.state.rip = next_rip(s, op);
  return Flow::kJump;
}

constexpr SemanticRow kRows[] = {
    {ZYDIS_MNEMONIC_IN, &in},
    {ZYDIS_MNEMONIC_OUT, &out, true},
};

}  // namespace

std::span<const SemanticRow> io_rows() { return kRows; }

}  // namespace doppel::interp
