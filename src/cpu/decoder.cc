// Configuration and corrections of the Zydis decoder.
#include "cpu/decoder.h"

#include <algorithm>
#include <cstring>

#include "base/verify.h"

namespace doppel {
namespace {

constexpr unsigned kMaxLength = ZYDIS_MAX_INSTRUCTION_LENGTH;

// Decoders for one set of processor features.
struct Decoders {
  ZydisDecoder long_mode;
  ZydisDecoder protected32;
  ZydisDecoder protected16;  // real mode too: its #UDs and #GPs are for the engine to decide
};

// Without BMI1 and LZCNT the encodings of TZCNT and LZCNT run as BSF and BSR. SDM 2B "TZCNT".
ZydisDecoder make_decoder(ZydisMachineMode mode, ZydisStackWidth width, bool has_tzcnt, bool has_lzcnt) {
  ZydisDecoder decoder;
  VERIFY(ZYAN_SUCCESS(ZydisDecoderInit(&decoder, mode, width)));
  auto set = [&](ZydisDecoderMode decoder_mode, bool is_on) {
    VERIFY(ZYAN_SUCCESS(ZydisDecoderEnableMode(&decoder, decoder_mode, is_on ? ZYAN_TRUE : ZYAN_FALSE)));
  };
  // Instruction sets that are never offered decode as the NOPs or older instructions they extend.
  set(ZYDIS_DECODER_MODE_KNC, false);
  set(ZYDIS_DECODER_MODE_MPX, false);
  set(ZYDIS_DECODER_MODE_CET, false);
  set(ZYDIS_DECODER_MODE_CLDEMOTE, false);
  set(ZYDIS_DECODER_MODE_TZCNT, has_tzcnt);
  set(ZYDIS_DECODER_MODE_LZCNT, has_lzcnt);
  return decoder;
}

Decoders make_decoders(bool has_tzcnt, bool has_lzcnt) {
  return {make_decoder(ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, has_tzcnt, has_lzcnt),
          make_decoder(ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, has_tzcnt, has_lzcnt),
          make_decoder(ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16, has_tzcnt, has_lzcnt)};
}

// Zydis 4.0.0 gives R13D as base of a SIB byte without base when both a 67 prefix and REX.B are there. SDM 2A
// table 2-3: mod 0 with base 101b has no base and a disp32, whatever REX.B.
void correct_missing_base(Decoded& decoded) {
  const ZydisDecodedInstruction& instruction = decoded.instruction;
  const bool has_no_base = (instruction.attributes & ZYDIS_ATTRIB_HAS_SIB) != 0 &&
                           instruction.raw.modrm.mod == 0 && instruction.raw.sib.base == 5;
  if (!has_no_base) return;
  for (unsigned i = 0; i < instruction.operand_count; ++i) {
    ZydisDecodedOperand& operand = decoded.operands[i];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM)
      continue;
    operand.mem.base = ZYDIS_REGISTER_NONE;
    operand.mem.disp.has_displacement = ZYAN_TRUE;
    operand.mem.disp.value = instruction.raw.disp.value;
    return;
  }
}

const ZydisDecoder& choose(u8 code_size, const x86::FeatureSet& features) {
  static const Decoders kDecoders[2][2] = {{make_decoders(false, false), make_decoders(false, true)},
                                           {make_decoders(true, false), make_decoders(true, true)}};
  const bool has_tzcnt = features.has(x86::Feature::kBmi1);
  const bool has_lzcnt = features.has(x86::Feature::kLzcnt);
  const Decoders& decoders = kDecoders[has_tzcnt ? 1 : 0][has_lzcnt ? 1 : 0];
  if (code_size == 8) return decoders.long_mode;
  return code_size == 4 ? decoders.protected32 : decoders.protected16;
}

}  // namespace

InstructionDecoder::InstructionDecoder(u8 code_size, bool is_protected, const x86::FeatureSet& features)
    : decoder_(&choose(code_size, features)), is_protected_(is_protected) {}

InstructionDecoder::Status InstructionDecoder::decode(const u8* bytes, u64 size, u64 offset,
                                                      Decoded& out) const {
  const u64 window = std::min<u64>(size, kMaxLength);
  ZydisDecoderContext context;
  ZyanStatus status = ZydisDecoderDecodeInstruction(decoder_, &context, bytes, window, &out.instruction);
  if (ZYAN_SUCCESS(status)) {
    status = ZydisDecoderDecodeOperands(decoder_, &context, &out.instruction, out.operands,
                                        out.instruction.operand_count);
  }
  if (ZYAN_SUCCESS(status)) {
    // What else real mode lacks is not for the decoder to refuse, as most of it is not #UD.
    if (!is_protected_ && out.instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
      return Status::kInvalid;
    correct_missing_base(out);
    std::memcpy(out.bytes, bytes, out.instruction.length);
    out.offset = offset;
    return Status::kOk;
  }
  if (status == ZYDIS_STATUS_NO_MORE_DATA)
    return window == kMaxLength ? Status::kTooLong : Status::kNeedsMore;
  if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) return Status::kTooLong;
  return Status::kInvalid;
}

}  // namespace doppel
