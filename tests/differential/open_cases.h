// What the values of a case, and not the instruction alone, leave to the processor or to the host's kernel.
#pragma once

#include "tests/differential/decode.h"
#include "tests/differential/user_state.h"

namespace doppel::differential {

// The instruction accesses an operand of several parts that reaches over the end of what its address size can
// say. Whether the parts behind it wrap is the processor's own (SDM 3A 5.3). Compared all the same, as the
// interpreter does as they do: x87 images on Intel's processors, everything else on AMD's (edges_test).
// `next` is the address of the next instruction.
bool is_address_open(const Instruction& instruction, const UserState& state, u64 next);

// The host's kernel refused a locked access across two cache lines, which the guest's processor allows: #AC
// although EFLAGS.AC is clear. SDM 3A 9.1.2.3.
bool is_split_lock_refused(const Outcome& host);

// The host's kernel gives addresses of 57 bits: what the guest sees as canonical must be, too.
bool host_has_wide_addresses();

}  // namespace doppel::differential
