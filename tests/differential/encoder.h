// Encoder: makes random concrete encodings of a form: registers, addressing modes, displacements, immediates.
#pragma once

#include <optional>

#include "tests/differential/form.h"
#include "tests/differential/random.h"
#include "tests/differential/user_state.h"

namespace doppel::differential {

// A concrete instruction of a form, placed in the code window.
struct Encoding {
  Placement placement;
  Instruction instruction;
};

// Addresses without registers (absolute, RIP-relative) hit the data window; relative branches hit the landing
// pad at Placement::branch_target. Every choice comes from `random`.
class Encoder {
 public:
  explicit Encoder(const Decoder& decoder) : decoder_(decoder) {}

  // Nothing when no attempt gave this form (which would be an error in the generator).
  std::optional<Encoding> make(const Form& form, Random& random) const;

 private:
  std::optional<Encoding> attempt(const Form& form, Random& random) const;

  const Decoder& decoder_;
};

// The register number 0..15 of a general register of any width; high-byte registers give their container.
unsigned gpr_number(ZydisRegister reg);
// Whether the operand's address depends on general register `number`.
bool addresses_with(const ZydisDecodedOperandMem& memory, unsigned number);
// BT, BTS, BTR, BTC with a register bit offset and a memory operand: the offset moves the address.
bool is_bit_string(const Instruction& instruction);
// A near branch whose target comes from a register or memory.
bool is_indirect_branch(const Instruction& instruction);
bool is_extended_save(const Instruction& instruction);     // XSAVE and its variants
bool is_extended_restore(const Instruction& instruction);  // XRSTOR
bool pops_flags(const Instruction& instruction);           // POPF in its sizes
bool is_string_operation(const Instruction& instruction);

}  // namespace doppel::differential
