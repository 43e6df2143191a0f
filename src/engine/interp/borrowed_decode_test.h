// One decoded instruction for the tests of borrowed execution.
#pragma once

#include <Zydis/Zydis.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>

#include "base/types.h"

namespace doppel::test {

struct Decoded {
  ZydisDecodedInstruction instruction;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
  std::array<u8, 24> bytes = {};
  bool is_valid = false;

  std::span<const ZydisDecodedOperand> visible_and_hidden() const {
    return std::span(operands).first(instruction.operand_count);
  }
  std::span<const u8> code() const { return std::span(bytes).first(instruction.length); }
  std::string text() const {
    return fmt::format("{} {:02x}", ZydisMnemonicGetString(instruction.mnemonic), fmt::join(code(), " "));
  }
};

inline Decoded decode(std::span<const u8> bytes, ZydisMachineMode mode = ZYDIS_MACHINE_MODE_LONG_64) {
  Decoded result;
  std::memcpy(result.bytes.data(), bytes.data(), std::min(bytes.size(), result.bytes.size()));
  ZydisDecoder decoder;
  const ZydisStackWidth width = mode == ZYDIS_MACHINE_MODE_LONG_64     ? ZYDIS_STACK_WIDTH_64
                                : mode == ZYDIS_MACHINE_MODE_LEGACY_32 ? ZYDIS_STACK_WIDTH_32
                                                                       : ZYDIS_STACK_WIDTH_16;
  ZydisDecoderInit(&decoder, mode, width);
  ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
  const ZyanStatus status = ZydisDecoderDecodeFull(&decoder, result.bytes.data(), result.bytes.size(),
                                                   &result.instruction, result.operands.data());
  result.is_valid = ZYAN_SUCCESS(status);
  return result;
}

}  // namespace doppel::test
