// Op and Insn: one decoded guest instruction as the interpreter executes it.
#pragma once

#include <array>

#include "base/types.h"
#include "cpu/cpu_state.h"
#include "x86/registers.h"

namespace doppel {
struct BorrowedStub;
}

namespace doppel::interp {

class Interpreter;
struct Op;
struct Insn;

// A handler executes one instruction and tail-calls the next op's handler. Everything hot travels in
// registers: the interpreter, the op, the arithmetic flags in LAHF/SETO form, and `base`, the RIP at the
// start of the trace. preserve_none leaves all registers to the callee, so handlers have no prologue.
#define INTERP_CALL __attribute__((preserve_none))
using Handler = void(INTERP_CALL*)(Interpreter* s, const Op* op, u64 flags, u64 base);

// What a semantic function of the cold table tells its caller.
enum class Flow : u8 {
  kNext,   // continue with the following instruction
  kJump,   // state.rip was set; leave the trace, the instruction is complete
  kFault,  // an exception was recorded; the instruction did not happen
};
using SemanticFunction = Flow (*)(Interpreter& s, const Op& op, const Insn& insn);

// Effective-address forms that handlers are specialised for.
enum class AddressKind : u8 {
  kNone,       // the operand is a register
  kBaseDisp,   // 64-bit: base + disp
  kBaseIndex,  // 64-bit: base + index * scale + disp
  kRipRelative,
  kSegment,          // 64-bit with FS or GS base
  kSegmentRelative,  // RIP-relative with FS or GS base
  kAny,              // everything, with segmentation and limits, decided at run time
};

// Slots of base and index registers count 8-byte words from the start of CpuState.
inline constexpr u8 kZeroSlot = offsetof(CpuState, always_zero) / 8;

// Address attributes in Op::address_mode.
inline constexpr u8 kAddress16 = 1;
inline constexpr u8 kAddress32 = 2;
inline constexpr u8 kAddress64 = 3;
inline constexpr u8 kAddressSizeMask = 3;
inline constexpr u8 kAddressRipRelative = 4;
inline constexpr u8 kAddressRipFar = 8;  // RIP-relative, displacement counts from the next instruction

struct Op {
  Handler handler;
  union {
    u64 immediate;
    const Insn* insn;
  };
  i32 displacement;  // of the memory operand, or branch target relative to the start of the trace
  u8 destination;    // byte offset of the register in CpuState (AH..BH are odd)
  u8 source;
  u8 base;   // slot
  u8 index;  // slot
  u8 scale;  // shift count
  u8 segment;
  u8 length;     // bytes of the instruction
  u8 remaining;  // instructions from here to the end of the trace, this one included
  u16 offset;    // of the instruction from the start of the trace
  u8 address_mode;
  u8 width;  // operand size in bytes
};
static_assert(sizeof(Op) == 32);

enum class OperandKind : u8 { kNone, kGpr, kMemory, kImmediate, kSegment, kControl, kDebug, kVector, kFar };

struct Operand {
  OperandKind kind = OperandKind::kNone;
  u8 size = 0;  // bytes
  u8 reg = 0;   // gpr: byte offset in CpuState; others: register number
  u8 slot = 0;  // gpr: register number
};

// What semantic functions need beyond the Op; lives in the trace arena.
struct Insn {
  SemanticFunction function = nullptr;
  const BorrowedStub* stub = nullptr;
  u16 mnemonic = 0;     // ZydisMnemonic
  u8 operand_size = 0;  // effective operand size in bytes: 2, 4, 8
  u8 stack_size = 0;    // operand size of stack accesses
  bool has_lock = false;
  bool has_rep = false;    // F3
  bool has_repne = false;  // F2
  u8 opcode = 0;           // last opcode byte
  u8 modrm_reg = 0;
  u8 vector_length = 0;  // bytes
  std::array<Operand, 4> operands;
  u64 immediate = 0;
  u64 immediate2 = 0;
  std::array<u8, 16> bytes = {};
};

// Arithmetic flags as LAHF and SETO leave them: AL = OF, AH = SF:ZF:0:AF:0:PF:1:CF.
inline constexpr u64 kPackedOf = 1u << 0;
inline constexpr u64 kPackedCf = 1u << 8;
inline constexpr u64 kPackedPf = 1u << 10;
inline constexpr u64 kPackedAf = 1u << 12;
inline constexpr u64 kPackedZf = 1u << 14;
inline constexpr u64 kPackedSf = 1u << 15;

constexpr u64 pack_flags(u64 rflags) { return ((rflags & 0xd5) | 2) << 8 | (rflags >> 11 & 1); }
constexpr u64 unpack_flags(u64 packed) { return (packed >> 8 & 0xd5) | (packed & 1) << 11; }

}  // namespace doppel::interp
