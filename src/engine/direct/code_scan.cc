// A sweep over a page of 64-bit code.
#include "engine/direct/code_scan.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <bitset>

#include "memory/address.h"

namespace doppel::direct {
namespace {

constexpr u64 kBefore = 256;  // bytes within which decoding falls into step

class Sweep {
 public:
  explicit Sweep(const ScannedCode& code) {
    ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    // What is decoded is no more than the instruction itself.
    ZydisDecoderEnableMode(&decoder_, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE);
    append(code.before.last(std::min(code.before.size(), kBefore)));
    start_ = size_;
    append(code.page);
    end_ = size_;
    append(code.behind.first(std::min<u64>(code.behind.size(), ZYDIS_MAX_INSTRUCTION_LENGTH)));
  }

  bool finds_sensitive(u64 entry) { return finds_from(0) || finds_from(start_ + entry); }

 private:
  static bool is_sensitive(const ZydisDecodedInstruction& instruction) {
    const u8 opcode = instruction.opcode;
    const u8 reg = instruction.raw.modrm.reg;
    const bool is_memory = instruction.raw.modrm.mod != 3;
    switch (instruction.opcode_map) {
      case ZYDIS_OPCODE_MAP_DEFAULT:
        // MOV to a segment register, IRET, far RET, far CALL and JMP.
        return opcode == 0x8e || opcode == 0xcf || opcode == 0xca || opcode == 0xcb ||
               (opcode == 0xff && (reg == 3 || reg == 5));
      case ZYDIS_OPCODE_MAP_0F:
        break;
      default:
        return false;
    }
    if (instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) return false;
    switch (opcode) {
      case 0x00:  // SLDT, STR, VERR, VERW
      case 0x01:  // SGDT, SIDT, SMSW, XGETBV, RDPKRU, VMCALL, ...
      case 0x02:  // LAR
      case 0x03:  // LSL
      case 0x34:  // SYSENTER
      case 0xa1:  // POP FS
      case 0xa2:  // CPUID
      case 0xa9:  // POP GS
      case 0xb2:  // LSS
      case 0xb4:  // LFS
      case 0xb5:  // LGS
        return true;
      case 0xae:  // XSAVE, XRSTOR, XSAVEOPT
        return is_memory && (reg == 4 || reg == 5 || reg == 6);
      case 0xc7:  // RDPID; XSAVEC, XSAVES, XRSTORS
        return is_memory ? reg >= 3 && reg <= 5 : reg == 7;
      default:
        return false;
    }
  }

  void append(std::span<const u8> bytes) {
    std::ranges::copy(bytes, bytes_.begin() + static_cast<i64>(size_));
    size_ += bytes.size();
  }

  // Up to the end of the page, or to where another way went on.
  bool finds_from(u64 at) {
    while (at < end_ && !seen_[at]) {
      seen_[at] = true;
      ZydisDecodedInstruction instruction;
      const bool is_valid = ZYAN_SUCCESS(
          ZydisDecoderDecodeInstruction(&decoder_, nullptr, bytes_.data() + at, size_ - at, &instruction));
      // The last one, of which the rest is not there.
      if (!is_valid && size_ - at < ZYDIS_MAX_INSTRUCTION_LENGTH) return bytes_[at] == 0x0f;
      if (is_valid && at >= start_ && is_sensitive(instruction)) return true;
      at += is_valid ? instruction.length : 1;
    }
    return false;
  }

  static constexpr u64 kMost = kBefore + kPageSize + ZYDIS_MAX_INSTRUCTION_LENGTH;
  ZydisDecoder decoder_;
  u64 start_ = 0;  // of the page,
  u64 end_ = 0;    // and its end
  u64 size_ = 0;
  std::array<u8, kMost> bytes_ = {};
  std::bitset<kMost> seen_;
};

}  // namespace

bool has_sensitive_code(const ScannedCode& code) { return Sweep(code).finds_sensitive(code.entry); }

}  // namespace doppel::direct
