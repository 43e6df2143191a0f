// Assembler: the host instructions that the translator puts between the guest's own. SDM 2A chapter 2.
#pragma once

#include <initializer_list>
#include <span>

#include "engine/jit/frame.h"
#include "engine/jit/registers.h"

namespace doppel::jit {

// [base + index * scale + displacement].
struct Memory {
  static constexpr Host kNone = 0xff;
  Host base = kNone;
  Host index = kNone;
  u8 scale = 0;  // shift count
  i32 displacement = 0;
};

constexpr Memory in_frame(u64 offset) {
  return {.base = kFrameRegister, .displacement = static_cast<i32>(offset) - static_cast<i32>(kFrameBias)};
}
constexpr Memory guest_slot(unsigned guest) {
  return in_frame(offsetof(Frame, guest_high) + (guest - kFirstInFrame) * 8);
}

// Opcode map of VEX: 1 = 0F, 2 = 0F38, 3 = 0F3A; prefix: 0 none, 1 = 66, 2 = F3, 3 = F2.
struct VexOpcode {
  u8 map;
  u8 prefix;
  u8 wide;    // W
  u8 length;  // L
  u8 opcode;
};

// Writes code through one mapping for execution through another. Running out of room is remembered, not
// reported byte by byte: check is_full() at the end.
class Assembler {
 public:
  Assembler(std::span<u8> room, const u8* executable) : room_(room), executable_(executable) {}

  u32 position() const { return position_; }
  const u8* here() const { return executable_ + position_; }
  const u8* at(u32 position) const { return executable_ + position; }
  bool is_full() const { return is_full_; }

  // Beyond the room nothing is written; a few bytes at a time are checked together.
  void byte(unsigned value) {
    if (position_ + kSlack > room_.size()) [[unlikely]] {
      is_full_ = true;
      return;
    }
    room_[position_++] = static_cast<u8>(value);
  }
  void bytes(std::span<const u8> values) {
    for (const u8 value : values) byte(value);
  }
  void bytes(std::initializer_list<unsigned> values) {
    for (const unsigned value : values) byte(value);
  }
  void word32(u32 value);
  void word64(u64 value);

  // ModRM with SIB and displacement; `reg` without its extension bit.
  void modrm(unsigned reg, const Memory& memory);
  // REX as needed, opcode, ModRM.
  void op(bool is_wide, std::initializer_list<unsigned> opcode, Host reg, const Memory& memory);
  void op(bool is_wide, std::initializer_list<unsigned> opcode, Host reg, Host rm);
  void vex(const VexOpcode& opcode, Host reg, Host vvvv, const Memory& memory);
  void vex(const VexOpcode& opcode, Host reg, Host vvvv, Host rm);

  void load(Host to, const Memory& from) { op(true, {0x8b}, to, from); }
  void store(const Memory& to, Host from) { op(true, {0x89}, from, to); }
  void move(Host to, Host from) {
    if (to != from) op(true, {0x89}, from, to);
  }
  void lea(Host to, const Memory& address) { op(true, {0x8d}, to, address); }
  void set(Host to, u64 value);
  // The last bytes of what set() makes: the value, or its low half, which is extended.
  enum class Immediate : u8 { kZeroExtended, kSignExtended, kWhole };
  static Immediate immediate_of(u64 value) {
    if (value <= 0xffffffff) return Immediate::kZeroExtended;
    const bool is_short = static_cast<u64>(static_cast<i64>(static_cast<i32>(value))) == value;
    return is_short ? Immediate::kSignExtended : Immediate::kWhole;
  }
  void crc32(Host to, Host from) {
    byte(0xf2);
    op(true, {0x0f, 0x38, 0xf1}, to, from);
  }
  // Into a page number, whatever the flags are.
  void page_number(Host to, Host from) { vex({2, 3, 1, 0, 0xf7}, to, kFrameRegister, from); }  // shrx
  void pext(Host to, Host from, const Memory& mask) { vex({2, 2, 1, 0, 0xf5}, to, from, mask); }

  // Branches return where their displacement is, to be set by bind().
  u32 jump() {
    byte(0xe9);
    word32(0);
    return position_ - 4;
  }
  u32 jump_if(unsigned condition) {
    bytes({0x0f, 0x80 | condition});
    word32(0);
    return position_ - 4;
  }
  u32 call() {
    byte(0xe8);
    word32(0);
    return position_ - 4;
  }
  // JRCXZ forward, bound by bind_short(), or backward.
  u32 jump_if_zero() {
    bytes({0xe3, 0});
    return position_ - 1;
  }
  void jump_if_zero_to(u32 position) {
    byte(0xe3);
    byte(position - (position_ + 1));
  }
  void jump_to(const u8* target) { bind_to(jump(), target); }
  void call_to(const u8* target) { bind_to(call(), target); }
  void jump_memory(const Memory& target) { op(false, {0xff}, 4, target); }
  void bind(u32 branch) { bind_to(branch, here()); }
  void bind_to(u32 branch, const u8* target);
  void bind_short(u32 branch);

 private:
  static constexpr u32 kSlack = 8;

  std::span<u8> room_;
  const u8* executable_;
  u32 position_ = 0;
  bool is_full_ = false;
};

}  // namespace doppel::jit
