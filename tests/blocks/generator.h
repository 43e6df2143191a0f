// Generator: random blocks that run for a while before they end: most accesses hit the windows, loops end,
// the stack is balanced.
#pragma once

#include "tests/blocks/block.h"
#include "tests/blocks/form_table.h"

namespace doppel::blocks {

struct BlockOptions {
  unsigned instructions = 40;  // about as many at most
  bool reads_time = false;
  std::span<const u64> wild_addresses = {};  // what pointers and indexes hold, if not what they should
};

// Registers have roles: pointers into the data window, small numbers for use as index, loop counters. Blocks
// keep them mostly, RSP and counters always (but for the last few instructions). Makes code for the mode of
// `decoder`.
class Generator {
 public:
  Generator(const Decoder& decoder, const FormTable& forms) : decoder_(decoder), forms_(forms) {}

  void make_block(const BlockOptions& options, Random& random, Block& out);
  // Of the block made last.
  void make_start(Random& random, Start& out);

 private:
  // A forward branch that waits for its target.
  struct Pending {
    u64 displacement;  // address of it
    unsigned size;
    unsigned items;  // left to skip
    bool is_absolute = false;
  };
  // Of a memory operand: ModRM, SIB and displacement, and what goes before the opcode.
  struct Address {
    EncodingBytes bytes;
    unsigned rxb = 0;
    u8 segment = 0;
    bool is_short = false;  // 16 bits
  };

  static constexpr u32 kStackPointer = 1u << 4;
  static constexpr unsigned kShortAddress = 0x67;  // 16 bits in 32-bit code

  // generator.cc: structure
  void choose_roles();
  void sequence(unsigned items);
  void item();
  void loop();
  void end_of_loop(unsigned counter, u64 body);
  void function_call();
  void call(u64 function);
  unsigned push();
  void pop(unsigned width);
  void push_and_pop();
  void push_all();
  void stack_frame();
  void indirect_jump();
  void string_instruction();
  void flags_image();
  void division();
  void wild_end();
  void resolve(std::vector<Pending>& pending, bool all);
  void forward_branch(std::vector<Pending>& pending);
  void patch(const Pending& branch, u64 target);

  // start.cc: roles of registers and their values

  // operand.cc: one instruction of a form
  bool form_instruction(const Form& form);
  void memory_operand(unsigned reg, bool is_vector, Address& out);
  void register_operand(u64 shape, unsigned reg, bool is_vector, Address& out);
  void short_operand(unsigned reg, Address& out);
  void aim_absolute(const Instruction& instruction, u8 segment, EncodingBytes& bytes);
  u32 gs_offset();
  unsigned pointer_register();
  i32 displacement(bool is_vector);
  bool is_acceptable(const Instruction& instruction);
  bool may_write_memory(const Instruction& instruction) const;

  bool is_compat() const { return decoder_.is_compat(); }
  unsigned registers() const { return is_compat() ? 8 : 16; }
  unsigned word() const { return is_compat() ? 4 : 8; }  // bytes that a push takes
  unsigned any_register() { return static_cast<unsigned>(random_->below(registers())); }

  void begin_instruction() {
    block_->instructions.push_back(at_);
    if (left_ > 0) --left_;
  }
  void emit(std::initializer_list<unsigned> bytes);
  void emit32(u32 value);
  // REX.W, where there is one.
  void emit_rex_w(unsigned reg = 0, unsigned rm = 0);
  // An opcode for whole registers with ModRM of two; immediate forms use `reg` as opcode extension.
  void emit_wide(unsigned opcode, unsigned reg, unsigned rm);
  void load_immediate(unsigned reg, u32 value);
  // The address is patched in.
  Pending load_address(unsigned reg);
  void decrement(unsigned reg);
  unsigned free_register();
  bool has_room() const { return at_ < limit_; }
  bool is_protected(unsigned reg) const { return ((counters_ | kStackPointer) >> reg & 1) != 0; }
  void lose(unsigned reg) {
    pointers_ &= ~(1u << reg);
    small_ &= ~(1u << reg);
  }
  void jump_over(u64 displacement, u64 target);
  void branch_back(unsigned opcode, u64 target);
  u64 pointer_value(unsigned reg);
  u64 wild_value();
  void randomize_float(UserState& state);

  const Decoder& decoder_;
  const FormTable& forms_;
  Random* random_ = nullptr;
  Block* block_ = nullptr;
  BlockOptions options_;
  u64 at_ = 0;     // where the next byte goes
  u64 limit_ = 0;  // where items may no longer begin
  unsigned left_ = 0;
  unsigned depth_ = 0;
  unsigned loops_ = 0;
  u32 local_bytes_ = 0;  // on the stack above RSP that may be overwritten
  u32 pointers_ = 0;     // masks of registers
  u32 initial_pointers_ = 0;
  u32 initial_small_ = 0;
  u32 small_ = 0;
  u32 counters_ = 0;
};

}  // namespace doppel::blocks
