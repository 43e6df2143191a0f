// Program: what the processors of a litmus test execute, and which outcomes the architecture allows.
#pragma once

#include <string>
#include <vector>

#include "base/types.h"
#include "tests/differential/layout.h"

namespace doppel::litmus {

// One step of a processor on its two shared variables, which are zero at first.
enum class Step : u8 {
  kStoreX,  // 1
  kStoreY,
  kLoadX,
  kLoadY,
  kExchangeX,  // stores 1, locked
  kExchangeY,
  kFence,   // MFENCE
  kLocked,  // a locked instruction on memory of its own
};

inline constexpr unsigned kMaxProcessors = 4;
// What each processor's first and second load saw.
struct Outcome {
  u32 first[kMaxProcessors];
  u32 second[kMaxProcessors];
};

struct Program {
  std::string name;
  std::vector<std::vector<Step>> processors;
  bool (*is_unusual)(const Outcome&);
  bool is_forbidden;  // the unusual outcome; else it is what reordering looks like
};

// As many experiments in one round, each with variables on cache lines of their own.
inline constexpr u64 kSlots = 64;
inline constexpr u64 kSlotBytes = 64;
inline constexpr u64 kX = differential::kDataBase;
inline constexpr u64 kY = differential::kDataBase + kPageSize;
// What was seen: by slot, then 16 bytes a processor.
inline constexpr u64 kSeen = differential::kStackBase;
// How many processors have come to the start; all begin together.
inline constexpr u64 kGate = differential::kStackBase + kPageSize;
inline constexpr u64 kStacks = differential::kStackBase + kPageSize + 0x400;

// Machine code for one round of one processor; ends with HLT.
std::vector<u8> assemble(const Program& program, unsigned processor);

// SDM 3A 8.2.3.
const std::vector<Program>& programs();

}  // namespace doppel::litmus
