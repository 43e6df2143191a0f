// Which instructions belong to the test: offered by doppel, comparable at user level, present on this host.
#pragma once

#include "tests/differential/decode.h"

namespace doppel::differential {

enum class Offer : u8 { kNo, kYes };

// Whether doppel's CPU model has the instruction at all. Others are not forms.
Offer offer_of(const Instruction& instruction);

// Why a form cannot be compared although it is offered; null when it can.
const char* skip_reason(const Instruction& instruction);

// Registers whose new value is the machine's own business (time, entropy, identity): a mask of GPR numbers.
u32 volatile_gprs(const Instruction& instruction);

// RFLAGS bits not compared for this instruction, with the reason in the table of coverage.cc.
u64 ignored_flags(const Instruction& instruction);

}  // namespace doppel::differential
