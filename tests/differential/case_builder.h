// CaseBuilder: gives one encoding its registers and memory, so that every access falls where the test wants
// it.
#pragma once

#include <vector>

#include "tests/differential/encoder.h"
#include "tests/differential/layout.h"
#include "tests/differential/random.h"
#include "tests/differential/user_state.h"

namespace doppel::differential {

struct TestCase {
  UserState state;
  std::array<u8, kDataSize> memory;
};

// One per encoding; build() once per case.
class CaseBuilder {
 public:
  CaseBuilder(const Encoding& encoding, Random& random);

  void build(TestCase& out, Random& random);

 private:
  struct Target {
    u64 address = 0;
    u32 size = 0;
  };

  void randomize_registers();
  void randomize_x87();
  void randomize_mxcsr();
  void place_memory_operands();
  void place_operand(const ZydisDecodedOperand& operand);
  void place_vector_operand(const ZydisDecodedOperand& operand);
  u64 place_bit_offset(const ZydisDecodedOperand& operand);
  u64 choose_target(u32 size, bool can_be_noncanonical);
  // The address within its segment that gives `target`, choosing the segment's base.
  u64 effective_address(const ZydisDecodedOperand& operand, u64 target);
  // Solves base + index * scale = `sum`; returns what had to be added to `sum` to make it solvable.
  i64 solve_registers(const ZydisDecodedOperandMem& memory, u64 sum);
  void set_address_register(ZydisRegister reg, u64 value);
  void fill_target(Target target);
  void clear_misaligned_mode(u64 address);
  void write_memory(u64 address, std::span<const u8> bytes);
  u64 read_memory(u64 address, u32 size) const;

  void adjust_for_mnemonic();
  void adjust_branch();
  void adjust_string();
  void adjust_compare_exchange();
  void adjust_division();
  void adjust_state_image();

  bool is_wide_address() const { return encoding_.instruction.info.address_width == 64; }
  u64 address_mask() const;
  u64 stack_pointer() const;
  Style choose_style();

  const Encoding& encoding_;
  std::array<u8, kDataSize> base_memory_;
  std::vector<Style> styles_;  // the kinds of numbers the operands hold
  u64 static_address_ = 0;     // of an operand without registers, as encoded
  TestCase* case_ = nullptr;
  Random* random_ = nullptr;
  Target explicit_target_;  // the last memory operand placed
};

}  // namespace doppel::differential
