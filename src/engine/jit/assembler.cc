// Instruction encoding.
#include "engine/jit/assembler.h"

#include <cstring>

#include "base/verify.h"

namespace doppel::jit {
namespace {

constexpr bool fits_byte(i32 value) { return value >= -128 && value <= 127; }
constexpr unsigned high(Host reg) { return reg == Memory::kNone ? 0u : reg >> 3; }

}  // namespace

void Assembler::word32(u32 value) {
  if (position_ + kSlack > room_.size()) [[unlikely]] {
    is_full_ = true;
    return;
  }
  std::memcpy(room_.data() + position_, &value, sizeof(value));
  position_ += sizeof(value);
}

void Assembler::word64(u64 value) {
  word32(static_cast<u32>(value));
  word32(static_cast<u32>(value >> 32));
}

void Assembler::modrm(unsigned reg, const Memory& memory) {
  VERIFY(memory.base != Memory::kNone && memory.index != x86::kRsp);
  const bool has_sib = memory.index != Memory::kNone || (memory.base & 7) == x86::kRsp;
  // Base 101b without displacement means something else. SDM 2A table 2-2.
  const bool needs_displacement = memory.displacement != 0 || (memory.base & 7) == x86::kRbp;
  const unsigned mod = !needs_displacement ? 0 : fits_byte(memory.displacement) ? 1 : 2;
  const unsigned low = reg & 7;
  byte(mod << 6 | low << 3 | (has_sib ? 4u : memory.base & 7));
  if (has_sib) {
    const unsigned index = memory.index == Memory::kNone ? 4 : memory.index & 7;
    byte(memory.scale << 6 | index << 3 | (memory.base & 7));
  }
  if (mod == 1) byte(static_cast<u8>(memory.displacement));
  if (mod == 2) word32(static_cast<u32>(memory.displacement));
}

void Assembler::op(bool is_wide, std::initializer_list<unsigned> opcode, Host reg, const Memory& memory) {
  const unsigned rex =
      0x40u | (is_wide ? 8 : 0) | high(reg) << 2 | high(memory.index) << 1 | high(memory.base);
  if (rex != 0x40) byte(rex);
  bytes(opcode);
  modrm(reg, memory);
}

void Assembler::op(bool is_wide, std::initializer_list<unsigned> opcode, Host reg, Host rm) {
  const unsigned rex = 0x40u | (is_wide ? 8 : 0) | high(reg) << 2 | high(rm);
  if (rex != 0x40) byte(rex);
  bytes(opcode);
  byte(0xc0u | (reg & 7) << 3 | (rm & 7));
}

void Assembler::vex(const VexOpcode& opcode, Host reg, Host vvvv, const Memory& memory) {
  bytes({0xc4,
         (high(reg) ^ 1) << 7 | (high(memory.index) ^ 1) << 6 | (high(memory.base) ^ 1) << 5 | opcode.map,
         opcode.wide << 7 | (~vvvv & 0xfu) << 3 | opcode.length << 2 | opcode.prefix, opcode.opcode});
  modrm(reg, memory);
}

void Assembler::vex(const VexOpcode& opcode, Host reg, Host vvvv, Host rm) {
  bytes({0xc4, (high(reg) ^ 1) << 7 | 0x40u | (high(rm) ^ 1) << 5 | opcode.map,
         opcode.wide << 7 | (~vvvv & 0xfu) << 3 | opcode.length << 2 | opcode.prefix, opcode.opcode,
         0xc0u | (reg & 7) << 3 | (rm & 7)});
}

void Assembler::set(Host to, u64 value) {
  switch (immediate_of(value)) {
    case Immediate::kZeroExtended:
      if (to >= 8) byte(0x41);
      byte(0xb8u | (to & 7));
      return word32(static_cast<u32>(value));
    case Immediate::kSignExtended:
      op(true, {0xc7}, 0, to);
      return word32(static_cast<u32>(value));
    case Immediate::kWhole:
      byte(0x48u | to >> 3);
      byte(0xb8u | (to & 7));
      return word64(value);
  }
}

void Assembler::bind_to(u32 branch, const u8* target) {
  if (is_full_) return;
  const auto distance = static_cast<i32>(target - (executable_ + branch + 4));
  std::memcpy(room_.data() + branch, &distance, sizeof(distance));
}

void Assembler::bind_short(u32 branch) {
  if (is_full_) return;
  const u32 distance = position_ - (branch + 1);
  VERIFY(distance <= 127);
  room_[branch] = static_cast<u8>(distance);
}

}  // namespace doppel::jit
