// Comparison of what the host and an engine made of the same case.
#pragma once

#include <string>
#include <vector>

#include "tests/differential/coverage.h"
#include "tests/differential/decode.h"
#include "tests/differential/user_state.h"

namespace doppel::differential {

// What is not compared for one instruction.
struct Mask {
  u32 ignored_gprs = 0;
  u64 ignored_flags = 0;
  bool is_compat = false;
  FaultLatitude latitude;
  bool may_lack_misaligned_mode = false;

  static Mask of(const Instruction& instruction, bool is_compat);
};

struct Observation {
  const Outcome& outcome;
  std::span<const u8> memory;
};

bool is_same(const Observation& expected, const Observation& got, const Mask& mask);

// One line for each part that differs.
std::vector<std::string> differences(const Observation& expected, const Observation& got, const Mask& mask);

// The registers of a state, for a person.
std::string describe(const UserState& state);

}  // namespace doppel::differential
