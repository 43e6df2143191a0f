// Thunks: the code between C++ and translated code.
#pragma once

#include "engine/jit/assembler.h"

namespace doppel::jit {

// C++ called in the middle of translated code: what was in kAddress and kTest, and where the call returns to;
// the result comes back in kTest. Guest registers are where they are, not in the state.
using Function = u64 (*)(Frame* frame, u64 address, u64 argument, const u8* return_address);
struct Functions {
  // These leave, to interpret the instruction at Frame::exit_rip, when they return zero.
  Function miss;  // an access found no translation
  Function find;  // a jump cache has no block
  Function tsc;   // RDTSC
};

// The argument of miss and find: the instruction, and its access or the mode of the code to find.
struct Detail {
  unsigned size = 0;  // of the access, in bytes
  bool is_write = false;
  AccessMode mode = kSupervisor;
  unsigned offset = 0;  // of the instruction from the start of its block
  unsigned left = 0;    // instructions of the block from this one on

  constexpr u32 pack() const {
    return size | (is_write ? 0x100u : 0u) | static_cast<u32>(mode) << 9 | offset << 11 | left << 23;
  }
  static constexpr Detail unpack(u64 packed) {
    return {.size = static_cast<unsigned>(packed & 0xff),
            .is_write = (packed & 0x100) != 0,
            .mode = static_cast<AccessMode>(packed >> 9 & 3),
            .offset = static_cast<unsigned>(packed >> 11 & 0xfff),
            .left = static_cast<unsigned>(packed >> 23 & 0x1ff)};
  }
};

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
  // Jumped to from a far branch of user code that is not linked for this address space: where to go in
  // kAddress, the branch in kTest.
  const u8* far_user = nullptr;
  // Called with the block's RIP in kAddress; one for each kind of vector instruction.
  std::array<const u8*, kVectorKinds> load_vectors = {};
};

Thunks emit_thunks(Assembler& assembler, const Functions& functions);

}  // namespace doppel::jit
