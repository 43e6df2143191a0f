// What the translator does with an instruction.
#pragma once

#include "cpu/decoder.h"

namespace doppel::jit {

enum class Kind : u8 {
  kInterpret,  // ends the block: one instruction for the interpreter
  kPlain,      // the guest's own instruction on the host's registers, memory operand redirected
  kNothing,    // NOPs and hints
  kLea,
  kJump,
  kJumpIf,
  kLoop,  // LOOP, JRCXZ and their kin
  kCall,
  kJumpIndirect,
  kCallIndirect,
  kReturn,
  kPush,
  kPop,
  kLeave,
  kBitString,   // BT and its kin with a bit number in a register and an operand in memory
  kString,      // MOVS, STOS
  kFlags,       // CLI, STI, CLD, PUSHF
  kAccessFlag,  // STAC, CLAC
  kSwapGs,
  kSystemCall,    // SYSCALL
  kSystemReturn,  // SYSRET
  kReadTsc,
  kReadPid,
  kReadBase,        // RDFSBASE, RDGSBASE
  kReadControl,     // MOV from CR2, CR3
  kLoadX87Control,  // FLDCW
  kSerialize,
};

// Which vector or x87 state an instruction needs: index of Frame::vectors.
enum class Vectors : u8 { kNone = 0xff, kSse = 0, kAvx = 1, kX87 = 2 };

struct Classified {
  Kind kind = Kind::kInterpret;
  Vectors vectors = Vectors::kNone;
  bool may_fault = false;     // in the host, beside its memory operand's translation
  bool sets_pointer = false;  // of the last x87 instruction
};

// `features`: what the guest's CPUID offers.
Classified classify(const Decoded& decoded, const x86::FeatureSet& features);

inline bool is_32bit(const Decoded& decoded) {
  return decoded.instruction.machine_mode != ZYDIS_MACHINE_MODE_LONG_64;
}
// Without registers.
inline bool is_absolute(const ZydisDecodedOperand& memory) {
  return memory.mem.base == ZYDIS_REGISTER_NONE && memory.mem.index == ZYDIS_REGISTER_NONE;
}
// The explicit memory operand, or nullptr.
const ZydisDecodedOperand* memory_operand(const Decoded& decoded);
bool is_general(ZydisRegister reg);
// Number of the general register that `reg` is or is part of; AH is part of 0.
unsigned guest_number(ZydisRegister reg);
bool is_high_byte(ZydisRegister reg);

}  // namespace doppel::jit
