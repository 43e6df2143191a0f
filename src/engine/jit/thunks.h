// Thunks: the code between C++ and translated code.
#pragma once

#include "engine/jit/assembler.h"

namespace doppel::jit {

// C++ called in the middle of translated code: what was in kAddress and kTest; the result comes back in
// kTest. Guest registers are where they are, not in the state.
using Function = u64 (*)(Frame* frame, u64 address, u64 argument);
struct Functions {
  Function miss;  // an access found no translation: address, describe_access(); 0: it will not go this way
  Function find;  // a jump cache has no block: RIP; 0: for the interpreter
  Function tsc;   // RDTSC
};

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
  // Called; they change kTest and nothing else.
  const u8* miss = nullptr;
  const u8* find = nullptr;
  const u8* tsc = nullptr;
  // Called with the block's RIP in kAddress; one for each kind of vector instruction.
  std::array<const u8*, 2> load_vectors = {};
};

Thunks emit_thunks(Assembler& assembler, const Functions& functions);

}  // namespace doppel::jit
