// FormTable: the instruction forms blocks are made of, by class, so that each class has its share.
#pragma once

#include <array>
#include <vector>

#include "tests/differential/form.h"
#include "tests/differential/random.h"

namespace doppel::blocks {

using namespace differential;

// Made once; forms that a generator has to set up itself (branches, the stack, strings, gathers) or that the
// host and a guest cannot agree on are not in it.
class FormTable {
 public:
  explicit FormTable(const Decoder& decoder);

  const Form& pick(Random& random) const;

 private:
  enum Class : u8 { kInteger, kFlagConsumer, kVector, kLegacyFloat, kDivide, kSystem, kClasses };
  static int class_of(const Form& form, const Instruction& instruction);

  std::vector<Form> forms_[kClasses];
};

// Of 64-bit code, and of 32-bit code.
using FormTables = std::array<FormTable, 2>;

}  // namespace doppel::blocks
