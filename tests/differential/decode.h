// Decoder: Zydis set up as doppel's guest sees the architecture.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <span>
#include <string>

#include "base/types.h"

namespace doppel::differential {

struct Instruction {
  ZydisDecodedInstruction info;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;

  std::span<const ZydisDecodedOperand> all_operands() const { return {operands.data(), info.operand_count}; }
  std::span<const ZydisDecodedOperand> visible_operands() const {
    return {operands.data(), info.operand_count_visible};
  }
  bool has(ZydisInstructionAttributes attribute) const { return (info.attributes & attribute) != 0; }
};

// Decodes 64-bit or 32-bit (compatibility mode) code. Without MPX and CLDEMOTE, whose encodings are then
// no-ops.
class Decoder {
 public:
  explicit Decoder(bool is_compat);
  bool decode(std::span<const u8> bytes, Instruction& out) const;
  bool is_compat() const { return is_compat_; }

 private:
  ZydisDecoder decoder_;
  bool is_compat_;
};

std::string disassemble(const Instruction& instruction, u64 address);

}  // namespace doppel::differential
