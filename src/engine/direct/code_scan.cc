// A sweep over a page of 64-bit code.
#include "engine/direct/code_scan.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cstring>

#include "memory/address.h"

namespace doppel::direct {
namespace {

// Behind 0F. XTEST, XEND, SERIALIZE, RDTSCP and CLZERO are not: they say nothing, or fault.
constexpr bool is_sensitive_group_7(u8 modrm) {
  return modrm != 0xd5 && modrm != 0xd6 && modrm != 0xe8 && modrm != 0xf9 && modrm != 0xfc;
}

constexpr bool is_sensitive_opcode(u8 opcode, u8 modrm) {
  const unsigned reg = modrm >> 3 & 7;
  const bool is_memory = modrm >> 6 != 3;
  switch (opcode) {
    case 0x01:  // SGDT, SIDT, SMSW, XGETBV, RDPKRU, VMCALL, ...
      return is_sensitive_group_7(modrm);
    case 0x00:  // SLDT, STR, VERR, VERW
    case 0x02:  // LAR
    case 0x03:  // LSL
    case 0x34:  // SYSENTER
    case 0xa2:  // CPUID
      return true;
    case 0xae:  // XSAVE, XRSTOR, XSAVEOPT
      return is_memory && (reg == 4 || reg == 5 || reg == 6);
    case 0xc7:  // RDPID; XSAVEC, XSAVES, XRSTORS
      return is_memory ? reg >= 3 && reg <= 5 : reg == 7;
    default:
      return false;
  }
}

// Are there such bytes at all, wherever instructions begin? Mostly not.
bool has_sensitive_bytes(std::span<const u8> page) {
  const u8* const end = page.data() + page.size();
  for (const u8* at = page.data(); at < end; ++at) {
    at = static_cast<const u8*>(std::memchr(at, 0x0f, static_cast<size_t>(end - at)));
    if (at == nullptr) return false;
    if (end - at < 3) return end - at == 2;
    if (is_sensitive_opcode(at[1], at[2])) return true;
  }
  return false;
}

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
  }

  bool finds_sensitive(u64 entry) {
    const u64 reach = std::min<u64>(start_, ZYDIS_MAX_INSTRUCTION_LENGTH);
    if (!has_sensitive_bytes({bytes_.data() + start_ - reach, bytes_.data() + size_})) return false;
    return finds_from(0) || finds_from(start_ + entry);
  }

 private:
  static bool is_sensitive(const ZydisDecodedInstruction& instruction) {
    return instruction.opcode_map == ZYDIS_OPCODE_MAP_0F &&
           instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
           is_sensitive_opcode(instruction.opcode,
                               static_cast<u8>(instruction.raw.modrm.mod << 6 |
                                               instruction.raw.modrm.reg << 3 | instruction.raw.modrm.rm));
  }

  void append(std::span<const u8> bytes) {
    std::ranges::copy(bytes, bytes_.begin() + static_cast<i64>(size_));
    size_ += bytes.size();
  }

  // Up to the end of the page, or to where another way went on.
  bool finds_from(u64 at) {
    while (at < size_ && !seen_[at]) {
      seen_[at] = true;
      ZydisDecodedInstruction instruction;
      const bool is_valid = ZYAN_SUCCESS(
          ZydisDecoderDecodeInstruction(&decoder_, nullptr, bytes_.data() + at, size_ - at, &instruction));
      if (is_valid && at + instruction.length > start_ && is_sensitive(instruction)) return true;
      at += is_valid ? instruction.length : 1;
    }
    return false;
  }

  static constexpr u64 kMost = kBefore + kPageSize;
  ZydisDecoder decoder_;
  u64 start_ = 0;  // of the page
  u64 size_ = 0;
  std::array<u8, kMost> bytes_ = {};
  std::bitset<kMost> seen_;
};

}  // namespace

bool has_sensitive_code(const ScannedCode& code) { return Sweep(code).finds_sensitive(code.entry); }

}  // namespace doppel::direct
