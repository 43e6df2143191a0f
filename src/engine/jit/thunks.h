// Thunks: the code between C++ and translated code.
#pragma once

#include "engine/jit/assembler.h"

namespace doppel::jit {

// Called for a miss in a translation table: RDI frame, RSI address, RDX what kind of access. Non-zero when
// the access may be tried again.
using MissFunction = u64 (*)(Frame* frame, u64 address, u64 access);

// Access descriptor of a miss: size in bytes, writing or not, access mode.
constexpr u32 describe_access(unsigned size, bool is_write, AccessMode mode) {
  return size | (is_write ? 0x100u : 0u) | static_cast<u32>(mode) << 16;
}

// Generated once, at the start of the code memory.
struct Thunks {
  // enter(frame): loads the guest's registers and jumps to frame.entry. Returns when translated code leaves.
  void (*enter)(Frame* frame) = nullptr;
  // Jumped to with the guest's next RIP in kAddress.
  const u8* leave_to_look = nullptr;
  const u8* leave_to_interpret = nullptr;
  const u8* leave_for_budget = nullptr;
  // Called with the address in kAddress and the descriptor in kTest. Returns with kTest not zero to have the
  // access tried again, or zero: it will not go through this way.
  const u8* miss = nullptr;
  // Called with the block's RIP in kAddress; one for each kind of vector instruction.
  std::array<const u8*, 2> load_vectors = {};
};

Thunks emit_thunks(Assembler& assembler, MissFunction miss);

}  // namespace doppel::jit
