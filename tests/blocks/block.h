// Block: a short random program with its initial states; what the block fuzzer hands from part to part.
#pragma once

#include <string>
#include <vector>

#include "tests/differential/layout.h"
#include "tests/differential/user_state.h"
#include "x86/registers.h"

namespace doppel::blocks {

using namespace differential;

// Code in the code window from kCodeBase on; everything else there is INT3. It ends at `end` with an
// HLT, which ring 3 may not execute: that #GP is no fault of the block's.
struct Block {
  u64 start = 0;
  u64 end = 0;
  std::array<u8, kCodeSize> code;
  std::vector<u64> instructions;  // addresses, in the order of layout
  bool reads_time = false;        // has RDTSC: not for the host
  bool is_compat = false;         // 32-bit code in flat segments
};

// Where a block starts.
struct Start {
  UserState state;
  std::array<u8, kDataSize> data;
  std::array<u8, kStackSize> stack;
};

// What became of it. Without a fault, RIP is Block::end.
struct Ending {
  Outcome outcome;
  std::array<u8, kDataSize> data;
  std::array<u8, kStackSize> stack;
  std::array<u8, kCodeSize> code;
};

inline constexpr u8 kHlt = 0xf4;
// The HLT at the end faults; what a block wrote there instead is an instruction like any other.
inline void settle_end(u64 end, std::span<const u8> code, Outcome& outcome) {
  if (outcome.vector != x86::kVectorGp || outcome.state.rip != end || outcome.error_code != 0) return;
  if (code[end - kCodeBase] != kHlt) return;
  outcome.vector = Outcome::kNoFault;
  outcome.state.rflags &= ~x86::kFlagRf;
}

// The block's instructions, one a line.
std::string disassemble(const Block& block);

}  // namespace doppel::blocks
