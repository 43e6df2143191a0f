// InstructionMix: writes streams of instructions that a well-behaved kernel would never execute.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "base/types.h"
#include "tests/hostile/choices.h"

namespace doppel::hostile {

// An address that is interesting to read, write, execute or point something at.
u64 interesting_address(Choices& choices);
// A number that is interesting as a count, an offset or an MSR's value.
u64 interesting_value(Choices& choices);

// One stream of code. Made for one buffer and code size; nothing is remembered between streams.
class InstructionMix {
 public:
  // `code_size`: 2, 4 or 8, the kind of code segment the bytes are meant for; they may run in any.
  InstructionMix(Choices& choices, unsigned code_size) : choices_(choices), code_size_(code_size) {}

  // Noise and instructions from the dictionary until `out` is full.
  void fill(std::span<u8> out);
  // One instruction, or a short sequence that sets up its operands.
  std::vector<u8> one();

 private:
  void bytes(std::initializer_list<unsigned> values);
  void number(u64 value, unsigned size);
  void prefixes();
  void noise();
  // ModRM with a memory operand at an interesting place, or with a register.
  void memory_operand(unsigned reg_field);
  void any_operand(unsigned reg_field);
  void set_register(unsigned reg, u64 value);
  void set_random_registers();

  void arithmetic();
  void locked();
  void string();
  void port();
  void model_specific();
  void control_register();
  void debug_register();
  void descriptor_table();
  void far_transfer();
  void near_transfer();
  void system_call();
  void self_modification();
  void vector();
  void state_area();
  void halt();
  void translation();
  void stack();
  void flags();

  Choices& choices_;
  unsigned code_size_;
  std::vector<u8> code_;
};

}  // namespace doppel::hostile
