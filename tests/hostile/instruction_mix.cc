// The general part of the mix: operands, arithmetic, strings, branches, vectors.
#include "tests/hostile/instruction_mix.h"

#include "tests/hostile/layout.h"

namespace doppel::hostile {

u64 interesting_address(Choices& choices) {
  static constexpr u64 kPlaces[] = {kData,
                                    kData + kPageSize,
                                    kStack,
                                    kCode,
                                    kCode + kPageSize,
                                    kGdt,
                                    kIdt,
                                    kTss,
                                    kOtherTss,
                                    kPageTables,
                                    kHandlers,
                                    kApicAddress,
                                    kIoApicPage,
                                    kMemoryBytes,
                                    kNowhere,
                                    0,
                                    0x80000000,
                                    0xfffff000,
                                    0x100000000,
                                    0x7ffffffff000,
                                    0x800000000000,
                                    0xffff800000000000,
                                    0xfffffffffffff000};
  const u64 place = choices.pick(kPlaces);
  switch (choices.below(4)) {
    case 0:
      return place;
    case 1:
      return place - 1 - choices.below(16);  // across the edge of the page
    case 2:
      return place + choices.below(kPageSize);
    default:
      return place + 16 * choices.below(256);
  }
}

u64 interesting_value(Choices& choices) {
  switch (choices.below(6)) {
    case 0:
      return choices.below(16);
    case 1:
      return u64{1} << choices.below(64);
    case 2:
      return (u64{1} << choices.below(64)) - 1;
    case 3:
      return ~choices.below(16);
    case 4:
      return interesting_address(choices);
    default:
      return choices.next();
  }
}

void InstructionMix::bytes(std::initializer_list<unsigned> values) {
  for (const unsigned value : values) code_.push_back(static_cast<u8>(value));
}

void InstructionMix::number(u64 value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) code_.push_back(static_cast<u8>(value >> (8 * i)));
}

void InstructionMix::prefixes() {
  static constexpr unsigned kPrefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0xf0};
  if (choices_.percent(30)) bytes({choices_.pick(kPrefixes)});
  if (choices_.percent(5)) bytes({choices_.pick(kPrefixes)});
  if (code_size_ == 8 && choices_.percent(40)) bytes({0x40u + static_cast<unsigned>(choices_.below(16))});
}

void InstructionMix::noise() {
  for (u64 i = choices_.below(12) + 1; i > 0; --i) bytes({static_cast<unsigned>(choices_.next() & 0xff)});
}

void InstructionMix::memory_operand(unsigned reg_field) {
  const unsigned reg = reg_field << 3;
  const u64 address = interesting_address(choices_);
  const unsigned kind = static_cast<unsigned>(choices_.below(4));
  if (kind == 0) {
    bytes(
        {reg | 0x06 | static_cast<unsigned>(choices_.below(2))});  // a plain register, or an absolute 16 bits
    if (code_size_ == 2 && (code_.back() & 7) == 6) number(address, 2);
  } else if (kind == 1 && code_size_ == 8) {
    bytes({reg | 0x05});  // close to RIP: the code itself
    number(choices_.below(64) - 16, 4);
  } else if (code_size_ == 2) {
    bytes({reg | 0x06});
    number(address, 2);
  } else if (code_size_ == 4) {
    bytes({reg | 0x05});
    number(address, 4);
  } else {
    bytes({reg | 0x04, 0x25});
    number(address, 4);
  }
}

void InstructionMix::any_operand(unsigned reg_field) {
  if (choices_.percent(40))
    bytes({0xc0 | reg_field << 3 | static_cast<unsigned>(choices_.below(8))});
  else
    memory_operand(reg_field);
}

void InstructionMix::set_register(unsigned reg, u64 value) {
  if (code_size_ == 8) {
    bytes({reg >= 8 ? 0x49u : 0x48u, 0xb8 | (reg & 7)});
    number(value, 8);
  } else if (code_size_ == 4) {
    bytes({0xb8 | (reg & 7)});
    number(value, 4);
  } else {
    bytes({0x66, 0xb8 | (reg & 7)});
    number(value, 4);
  }
}

void InstructionMix::set_random_registers() {
  for (u64 i = choices_.below(3); i > 0; --i) {
    set_register(static_cast<unsigned>(choices_.below(code_size_ == 8 ? 16 : 8)),
                 interesting_value(choices_));
  }
}

void InstructionMix::arithmetic() {
  prefixes();
  const unsigned reg = static_cast<unsigned>(choices_.below(8));
  switch (choices_.below(6)) {
    case 0:
      bytes({static_cast<unsigned>(choices_.below(8) << 3 | choices_.below(4))});
      break;
    case 1:
      bytes({0xf6 | static_cast<unsigned>(choices_.below(2))});
      break;
    case 2:
      bytes({0xd0 | static_cast<unsigned>(choices_.below(4))});
      break;
    case 3:
      bytes({0x88 | static_cast<unsigned>(choices_.below(4))});
      break;
    case 4:
      bytes({0x0f, choices_.pick({0xafu, 0xa3u, 0xabu, 0xbcu, 0xbdu, 0xb6u, 0xbfu, 0xa5u, 0x44u, 0x95u})});
      break;
    default:
      bytes({0x0f, 0x38, choices_.pick({0xf0u, 0xf1u, 0xf6u})});
      break;
  }
  any_operand(reg);
}

void InstructionMix::locked() {
  bytes({0xf0});
  const unsigned reg = static_cast<unsigned>(choices_.below(8));
  switch (choices_.below(5)) {
    case 0:
      bytes({static_cast<unsigned>(choices_.below(7) << 3 | choices_.below(2))});
      break;
    case 1:
      bytes({0x0f, choices_.pick({0xb0u, 0xb1u, 0xc0u, 0xc1u, 0xabu, 0xb3u, 0xbbu})});
      break;
    case 2:
      bytes({0xfe | static_cast<unsigned>(choices_.below(2))});
      return memory_operand(reg & 1);
    case 3:
      bytes({0xf6 | static_cast<unsigned>(choices_.below(2))});
      return memory_operand(2 | (reg & 1));
    default:  // CMPXCHG8B, CMPXCHG16B
      if (code_size_ == 8 && choices_.percent(50)) bytes({0x48});
      bytes({0x0f, 0xc7});
      return memory_operand(1);
  }
  memory_operand(reg);
}

void InstructionMix::string() {
  static constexpr unsigned kOpcodes[] = {0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac,
                                          0xad, 0xae, 0xaf, 0x6c, 0x6d, 0x6e, 0x6f};
  set_register(6, interesting_address(choices_));
  set_register(7, interesting_address(choices_));
  set_register(1, choices_.percent(50) ? choices_.below(300) : interesting_value(choices_));
  if (choices_.percent(30)) bytes({0xfc | static_cast<unsigned>(choices_.below(2))});
  if (choices_.percent(80)) bytes({choices_.pick({0xf3u, 0xf2u})});
  prefixes();
  bytes({choices_.pick(kOpcodes)});
}

void InstructionMix::near_transfer() {
  switch (choices_.below(7)) {
    case 0:
      bytes(
          {0x70 | static_cast<unsigned>(choices_.below(16)), static_cast<unsigned>(choices_.next() & 0xff)});
      break;
    case 1:
      bytes({choices_.pick({0xebu, 0xe0u, 0xe1u, 0xe2u, 0xe3u}),
             static_cast<unsigned>(choices_.next() & 0xff)});
      break;
    case 2:
      bytes({choices_.pick({0xe8u, 0xe9u})});
      number(choices_.percent(80) ? choices_.below(512) - 256 : choices_.next(), code_size_ == 2 ? 2 : 4);
      break;
    case 3:
      bytes({0xc3});
      break;
    case 4:
      bytes({0xc2});
      number(choices_.next(), 2);
      break;
    case 5:
      set_register(0,
                   choices_.percent(60) ? kCode + choices_.below(kCodeBytes) : interesting_address(choices_));
      bytes({0xff, choices_.pick({0xe0u, 0xd0u})});
      break;
    default:
      bytes({0xff});
      memory_operand(choices_.pick({2u, 4u}));
      break;
  }
}

// Stores close to RIP: into the running trace, the next one, or the page boundary.
void InstructionMix::self_modification() {
  if (code_size_ == 8) {
    bytes({choices_.pick({0x88u, 0x89u}), 0x05});
    number(choices_.below(96) - 32, 4);
  } else {
    const u64 target = kCode + choices_.below(kCodeBytes);
    set_register(3, target);
    bytes({choices_.pick({0x88u, 0x89u}), code_size_ == 4 ? 0x03u : 0x07u});
  }
}

void InstructionMix::vector() {
  static constexpr unsigned kX87[] = {0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf};
  const unsigned reg = static_cast<unsigned>(choices_.below(8));
  const unsigned opcode = static_cast<unsigned>(choices_.next() & 0xff);
  switch (choices_.below(6)) {
    case 0:
      bytes({choices_.pick(kX87)});
      break;
    case 1:
      bytes({choices_.pick({0x66u, 0xf2u, 0xf3u, 0x90u}), 0x0f, opcode});
      break;
    case 2:
      bytes({0x66, 0x0f, choices_.pick({0x38u, 0x3au}), opcode});
      break;
    case 3:
      bytes({0xc5, static_cast<unsigned>(choices_.next() & 0xff), opcode});
      break;
    case 4:
      bytes({0xc4, choices_.pick({0xe1u, 0xe2u, 0xe3u, 0x62u}), static_cast<unsigned>(choices_.next() & 0xff),
             opcode});
      break;
    default:  // gathers: VSIB with a random index
      bytes({0xc4, 0xe2, choices_.pick({0x79u, 0x7du, 0xf9u, 0xfdu}),
             0x90 | static_cast<unsigned>(choices_.below(4)), 0x04 | reg << 3,
             static_cast<unsigned>(choices_.next() & 0xff)});
      return;
  }
  any_operand(reg);
  if (choices_.percent(30)) bytes({static_cast<unsigned>(choices_.next() & 0xff)});
}

void InstructionMix::stack() {
  switch (choices_.below(6)) {
    case 0:
      bytes({0x50 | static_cast<unsigned>(choices_.below(16))});
      break;
    case 1:
      bytes({choices_.pick({0x60u, 0x61u, 0x9cu, 0x9du, 0xc9u})});
      break;
    case 2:
      bytes({0xc8});
      number(choices_.next(), 3);
      break;
    case 3:
      bytes({choices_.pick({0x06u, 0x07u, 0x0eu, 0x16u, 0x17u, 0x1eu, 0x1fu})});
      break;
    case 4:
      set_register(4, interesting_address(choices_));
      break;
    default:
      bytes({0x8f});
      any_operand(0);
      break;
  }
}

void InstructionMix::fill(std::span<u8> out) {
  std::size_t used = 0;
  while (used < out.size()) {
    const std::vector<u8> instruction = one();
    const std::size_t size = std::min(instruction.size(), out.size() - used);
    std::copy_n(instruction.begin(), size, out.begin() + static_cast<std::ptrdiff_t>(used));
    used += size;
  }
}

std::vector<u8> InstructionMix::one() {
  using Family = void (InstructionMix::*)();
  static constexpr Family kFamilies[] = {&InstructionMix::arithmetic,
                                         &InstructionMix::arithmetic,
                                         &InstructionMix::locked,
                                         &InstructionMix::string,
                                         &InstructionMix::port,
                                         &InstructionMix::model_specific,
                                         &InstructionMix::control_register,
                                         &InstructionMix::debug_register,
                                         &InstructionMix::descriptor_table,
                                         &InstructionMix::far_transfer,
                                         &InstructionMix::near_transfer,
                                         &InstructionMix::near_transfer,
                                         &InstructionMix::system_call,
                                         &InstructionMix::self_modification,
                                         &InstructionMix::vector,
                                         &InstructionMix::vector,
                                         &InstructionMix::state_area,
                                         &InstructionMix::halt,
                                         &InstructionMix::translation,
                                         &InstructionMix::stack,
                                         &InstructionMix::flags,
                                         &InstructionMix::noise};
  code_.clear();
  if (choices_.percent(20)) set_random_registers();
  (this->*choices_.pick(kFamilies))();
  return code_;
}

}  // namespace doppel::hostile
