// Decoder: thin wrapper over Zydis.
#include "tests/differential/decode.h"

#include "base/verify.h"

namespace doppel::differential {

Decoder::Decoder(bool is_compat) : is_compat_(is_compat) {
  const auto mode = is_compat ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 : ZYDIS_MACHINE_MODE_LONG_64;
  const auto width = is_compat ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_64;
  VERIFY(ZYAN_SUCCESS(ZydisDecoderInit(&decoder_, mode, width)));
  ZydisDecoderEnableMode(&decoder_, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
  ZydisDecoderEnableMode(&decoder_, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
}

bool Decoder::decode(std::span<const u8> bytes, Instruction& out) const {
  return ZYAN_SUCCESS(
      ZydisDecoderDecodeFull(&decoder_, bytes.data(), bytes.size(), &out.info, out.operands.data()));
}

std::string disassemble(const Instruction& instruction, u64 address) {
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  std::array<char, 256> text = {};
  const ZyanStatus status = ZydisFormatterFormatInstruction(
      &formatter, &instruction.info, instruction.operands.data(), instruction.info.operand_count_visible,
      text.data(), text.size(), address, nullptr);
  return ZYAN_SUCCESS(status) ? std::string(text.data()) : "(not printable)";
}

}  // namespace doppel::differential
