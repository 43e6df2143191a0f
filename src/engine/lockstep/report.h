// What is said of a block that was translated wrongly.
#pragma once

#include <string>

#include "engine/lockstep/register_difference.h"
#include "engine/lockstep/touched_memory.h"

namespace doppel {
class Core;
}

namespace doppel::lockstep {

struct Mismatch {
  unsigned cpu = 0;
  u64 block = 0;  // which one that the vCPU executes, from 1 on
  u64 rip = 0;
  u64 executed = 0;      // instructions, by translated code
  u64 instructions = 0;  // of the whole block
  std::string why = {};  // what there is to say of it but for registers and memory
  std::vector<RegisterDifference> registers = {};
  std::vector<ByteDifference> memory = {};
};

// `core` is of the vCPU, for the block's code.
std::string report_of(const Mismatch& mismatch, Core& core);

}  // namespace doppel::lockstep
