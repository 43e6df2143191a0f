// TraceBuilder: decodes guest code at one address into a trace.
#pragma once

#include <optional>

#include "cpu/decoder.h"
#include "engine/interp/handlers.h"
#include "engine/interp/interpreter.h"
#include "engine/interp/trace.h"

namespace doppel::interp {

// Whether a trace can go on behind an op.
enum class Ending : u8 {
  kNone,    // the next instruction follows
  kLeaves,  // always leaves through the dispatcher or an indirect jump
  kLinked,  // BranchLinks follow the op
};

// Fills `op` with the specialised handler for an instruction. False: there is none, use the semantic table.
bool select_handler(Op& op, const Decoded& decoded, bool is_64bit, Ending& ending);
// An arithmetic instruction on registers and immediates, which can take a conditional branch behind it along.
struct Comparison {
  Alu operation;
  unsigned width;
  Form form;
};
std::optional<Comparison> comparison_of(const Decoded& decoded);
void fuse_branch(Op& op, const Comparison& comparison, const Decoded& branch);
// Fills the memory operand's fields; returns the kind for handler selection.
AddressKind set_memory_operand(Op& op, const Decoded& decoded, const ZydisDecodedOperand& operand,
                               bool is_64bit);
// Byte offset in CpuState of a general register of any width.
u8 register_offset(ZydisRegister reg);
// Fills `insn` for the semantic table, and `op`'s memory operand; replaces op.handler when a vector handler
// fits.
Ending fill_insn(Op& op, Insn& insn, const Decoded& decoded, Interpreter& interpreter, bool is_64bit);

// Used once per trace, on the vCPU's thread.
class TraceBuilder {
 public:
  static constexpr unsigned kMaxInstructions = 32;

  // `linear` is the address of the first byte; at most `limit_bytes` may be fetched.
  TraceBuilder(Interpreter& interpreter, const TraceKey& key, u64 linear, u64 limit_bytes);

  // nullptr after recording a fault that fetching or decoding the first instruction raised.
  Trace* build();

 private:
  using Decode = InstructionDecoder::Status;
  Decode decode(Decoded& out, const u8* bytes, u64 size);
  Trace* build_across_pages();
  void append_guard();
  bool append(const Decoded& decoded);
  Trace* finish(u64 second_frame);
  Trace* raise_decode_fault(Decode status);

  Interpreter& interpreter_;
  TraceKey key_;
  InstructionDecoder decoder_;
  u64 linear_;
  u64 limit_bytes_;
  bool is_cacheable_ = true;
  Op ops_[2 * kMaxInstructions + 4];
  unsigned op_count_ = 0;
  unsigned instruction_count_ = 0;
  unsigned memory_operands_ = 0;
  u64 offset_ = 0;
  Ending ending_ = Ending::kNone;
  std::optional<Comparison> comparison_;  // what the op before the next one is
};

}  // namespace doppel::interp
