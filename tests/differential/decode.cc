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

namespace {

// Zydis 4.0.0 gives R13D as base of a SIB byte without base when both a 67 prefix and REX.B are there. SDM 2A
// table 2-3: mod 0 with base 101b has no base and a disp32, whatever REX.B.
void correct_missing_base(Instruction& instruction) {
  const auto& info = instruction.info;
  const bool has_no_base = info.address_width != 16 && instruction.has(ZYDIS_ATTRIB_HAS_SIB) &&
                           info.raw.modrm.mod == 0 && info.raw.sib.base == 5;
  if (!has_no_base) return;
  for (ZydisDecodedOperand& operand : instruction.operands) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM)
      continue;
    operand.mem.base = ZYDIS_REGISTER_NONE;
    operand.mem.disp.has_displacement = ZYAN_TRUE;
    operand.mem.disp.value = info.raw.disp.value;
    return;
  }
}

}  // namespace

bool Decoder::decode(std::span<const u8> bytes, Instruction& out) const {
  if (!ZYAN_SUCCESS(
          ZydisDecoderDecodeFull(&decoder_, bytes.data(), bytes.size(), &out.info, out.operands.data()))) {
    return false;
  }
  correct_missing_base(out);
  return true;
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
