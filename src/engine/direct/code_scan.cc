// A sweep over a page of 64-bit code.
#include "engine/direct/code_scan.h"

#include <Zydis/Zydis.h>

#include <array>
#include <bitset>
#include <cstring>

#include "memory/address.h"

namespace doppel::direct {
namespace {

class Sweep {
 public:
  Sweep(std::span<const u8> page, std::span<const u8> next) : size_(page.size()) {
    ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    // What is decoded is no more than the instruction itself.
    ZydisDecoderEnableMode(&decoder_, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE);
    std::memcpy(bytes_.data(), page.data(), size_);
    const u64 tail = std::min<u64>(next.size(), ZYDIS_MAX_INSTRUCTION_LENGTH);
    if (tail != 0) std::memcpy(bytes_.data() + size_, next.data(), tail);
    end_ = size_ + tail;
  }

  bool finds_sensitive() {
    for (u64 start = 0; start < ZYDIS_MAX_INSTRUCTION_LENGTH; ++start) {
      for (u64 at = start; at < size_ && !seen_[at];) {
        seen_[at] = true;
        ZydisDecodedInstruction instruction;
        const bool is_valid = ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(
            &decoder_, nullptr, bytes_.data() + at, end_ - at, &instruction));
        if (!is_valid && end_ - at < ZYDIS_MAX_INSTRUCTION_LENGTH) return bytes_[at] == 0x0f;
        if (is_valid && is_sensitive(instruction)) return true;
        at += is_valid ? instruction.length : 1;
      }
    }
    return false;
  }

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

  ZydisDecoder decoder_;
  u64 size_;
  u64 end_;
  std::array<u8, kPageSize + ZYDIS_MAX_INSTRUCTION_LENGTH> bytes_ = {};
  std::bitset<kPageSize> seen_;
};

}  // namespace

bool has_sensitive_code(std::span<const u8> page, std::span<const u8> next) {
  return Sweep(page, next).finds_sensitive();
}

}  // namespace doppel::direct
