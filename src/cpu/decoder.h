// InstructionDecoder: guest instructions as every engine that decodes sees them.
#pragma once

#include <Zydis/Zydis.h>

#include "base/types.h"
#include "x86/features.h"

namespace doppel {

// One instruction as the decoder saw it.
struct Decoded {
  ZydisDecodedInstruction instruction;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  u8 bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
  u64 offset;  // from the start of the code that is being translated

  const ZydisDecodedOperand& operand(unsigned index) const { return operands[index]; }
};

// Decodes for one code size (2, 4 or 8: default operand size class of the code segment) and one set of
// features. Real and virtual-8086 mode have no VEX and its kin (`is_protected` false). Cheap to make.
class InstructionDecoder {
 public:
  InstructionDecoder(u8 code_size, bool is_protected, const x86::FeatureSet& features);

  enum class Status : u8 { kOk, kInvalid, kTooLong, kNeedsMore };
  // `bytes`: up to `size` bytes of code. `offset` is copied. kNeedsMore: the instruction is longer than that.
  Status decode(const u8* bytes, u64 size, u64 offset, Decoded& out) const;

 private:
  const ZydisDecoder* decoder_;
  bool is_protected_;
};

}  // namespace doppel
