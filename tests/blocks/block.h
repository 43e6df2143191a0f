// Block: a short random program with its initial states; what the block fuzzer hands from part to part.
#pragma once

#include <string>
#include <vector>

#include "tests/differential/layout.h"
#include "tests/differential/user_state.h"

namespace doppel::blocks {

using namespace differential;

// Code in the code window from kCodeBase on; everything else there is INT3. It ends at `end`, where the host
// has a landing pad and a guest an HLT, which ring 3 may not execute.
struct Block {
  static constexpr u64 kPadSize = 16;

  u64 start = 0;
  u64 end = 0;
  u64 used_start = 0;  // bytes of the window that are not INT3
  u64 used_end = 0;
  std::array<u8, kCodeSize> code;
  std::vector<u64> instructions;  // addresses, in the order of layout
  bool reads_time = false;        // has RDTSC: not for the host
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
};

// The block's instructions, one a line.
std::string disassemble(const Block& block);

}  // namespace doppel::blocks
