// Register transfer between C++ and translated code.
#include "engine/jit/thunks.h"

namespace doppel::jit {
namespace {

constexpr u8 kCalleeSaved[] = {x86::kRbx, x86::kRbp, x86::kR12, x86::kR13, x86::kR14, x86::kR15};
// Of the guest's, in registers that C++ code may change.
constexpr u8 kCallerSaved[] = {x86::kRax, x86::kRdx, x86::kRsi, x86::kRdi, 8, 9, 10, 11};
constexpr unsigned kJz = 4;

constexpr Memory state_gpr(Host state, unsigned guest) {
  return {.base = state, .displacement = static_cast<i32>(offsetof(CpuState, gpr) + guest * 8)};
}
constexpr Memory state_vector(Host state, unsigned number) {
  return {.base = state, .displacement = static_cast<i32>(offsetof(CpuState, ymm) + number * 32)};
}
constexpr Memory state_mxcsr(Host state) {
  return {.base = state,
          .displacement = static_cast<i32>(offsetof(CpuState, fx) + offsetof(FxsaveArea, mxcsr))};
}
// A field of the frame when the stack pointer is `depth` bytes below it.
constexpr Memory frame_field(u64 offset, unsigned depth = 0) {
  return {.base = x86::kRsp, .displacement = static_cast<i32>(offset + depth) - static_cast<i32>(kFrameBias)};
}

void push(Assembler& a, Host reg) {
  if (reg >= 8) a.byte(0x41);
  a.byte(0x50u | (reg & 7));
}
void pop(Assembler& a, Host reg) {
  if (reg >= 8) a.byte(0x41);
  a.byte(0x58u | (reg & 7));
}
void compare_with_zero(Assembler& a, const Memory& field) {
  a.op(true, {0x83}, 7, field);
  a.byte(0);
}
void set_field(Assembler& a, const Memory& field, u32 value) {
  a.op(true, {0xc7}, 0, field);
  a.word32(value);
}

// VMOVUPS of all vector registers; `state` holds the address of the CpuState.
void move_vectors(Assembler& a, Host state, bool is_store) {
  for (unsigned i = 0; i < 16; ++i) {
    a.vex({1, 0, 0, 1, static_cast<u8>(is_store ? 0x11 : 0x10)}, static_cast<Host>(i), 0,
          state_vector(state, i));
  }
}

// Out of the host's registers, if they are there. Changes flags and kTest.
void save_vectors(Assembler& a, unsigned depth) {
  a.load(kTest, frame_field(offsetof(Frame, vectors), depth));
  a.op(true, {0x0b}, kTest, frame_field(offsetof(Frame, vectors) + 8, depth));
  const u32 skip = a.jump_if(kJz);
  a.load(kTest, frame_field(offsetof(Frame, state), depth));
  move_vectors(a, kTest, true);
  a.op(false, {0x0f, 0xae}, 3, state_mxcsr(kTest));  // stmxcsr
  a.bytes({0xc5, 0xf8, 0x77});                       // vzeroupper
  a.op(false, {0x0f, 0xae}, 2, frame_field(offsetof(Frame, host_mxcsr), depth));
  a.bind(skip);
}

void load_vectors(Assembler& a, unsigned depth) {
  a.load(kTest, frame_field(offsetof(Frame, state), depth));
  move_vectors(a, kTest, false);
  a.op(false, {0x0f, 0xae}, 2, state_mxcsr(kTest));  // ldmxcsr
}

constexpr Memory state_x87(Host state, u64 offset) {
  return {.base = state, .displacement = static_cast<i32>(offsetof(CpuState, fx) + offset)};
}
constexpr Memory x87_image(u64 offset, unsigned depth) {
  return frame_field(offsetof(Frame, x87_image) + offset, depth);
}
constexpr u64 kStateBits = 512;  // XSTATE_BV in an XSAVE image

// XSAVE64 or XRSTOR64 of the x87 state alone. Changes RAX and RDX.
void move_x87(Assembler& a, unsigned depth, bool is_store) {
  a.set(x86::kRax, x86::kXcr0X87);
  a.set(x86::kRdx, 0);
  a.op(true, {0x0f, 0xae}, is_store ? 4 : 5, x87_image(0, depth));
}

// Out of the host's registers, if they are there, which C++ code then finds empty; vector registers must be
// free. Of the pointers only the instruction's is the guest's, and it is known. Changes flags, kTest, RAX and
// RDX.
void save_x87(Assembler& a, unsigned depth) {
  a.load(kTest, frame_field(offsetof(Frame, vectors) + 16, depth));
  a.op(true, {0x85}, kTest, kTest);  // test
  const u32 skip = a.jump_if(kJz);
  move_x87(a, depth, true);
  a.load(kTest, frame_field(offsetof(Frame, state), depth));
  a.op(false, {0x8b}, x86::kRax, x87_image(offsetof(FxsaveArea, fcw), depth));  // and FSW
  a.op(false, {0x89}, x86::kRax, state_x87(kTest, offsetof(FxsaveArea, fcw)));
  a.op(false, {0x8a}, x86::kRax, x87_image(offsetof(FxsaveArea, ftw), depth));
  a.op(false, {0x88}, x86::kRax, state_x87(kTest, offsetof(FxsaveArea, ftw)));
  a.load(x86::kRax, frame_field(offsetof(Frame, x87_pointer), depth));
  a.store(state_x87(kTest, offsetof(FxsaveArea, fip)), x86::kRax);
  for (unsigned i = 0; i < 4; ++i) {
    const u64 at = offsetof(FxsaveArea, st) + i * 32;
    a.vex({1, 0, 0, 1, 0x10}, 0, 0, x87_image(at, depth));
    a.vex({1, 0, 0, 1, 0x11}, 0, 0, state_x87(kTest, at));
  }
  a.bytes({0xc5, 0xf8, 0x77});  // vzeroupper
  a.bytes({0xdb, 0xe3});        // fninit
  a.bind(skip);
}

void emit_enter(Assembler& a) {
  for (const u8 reg : kCalleeSaved) push(a, reg);
  a.op(true, {0x89}, x86::kRsp, Memory{.base = x86::kRdi, .displacement = offsetof(Frame, host_rsp)});
  a.lea(x86::kRsp, {.base = x86::kRdi, .displacement = kFrameBias});
  a.load(kTest, in_frame(offsetof(Frame, state)));
  a.op(true, {0xff}, 6, in_frame(offsetof(Frame, exit_flags)));  // push
  a.byte(0x9d);                                                  // popfq
  for (unsigned guest = 0; guest < x86::kGprCount; ++guest) {
    const Host host = host_register(guest);
    if (host != kInFrame) {
      a.load(host, state_gpr(kTest, guest));
    } else {
      a.load(kAddress, state_gpr(kTest, guest));
      a.store(guest_slot(guest), kAddress);
    }
  }
  a.jump_memory(in_frame(offsetof(Frame, entry)));
}

// With the reason in kTest.
void emit_leave(Assembler& a) {
  a.store(in_frame(offsetof(Frame, exit_reason)), kTest);
  a.store(in_frame(offsetof(Frame, exit_rip)), kAddress);
  a.byte(0x9c);  // pushfq
  pop(a, kAddress);
  a.store(in_frame(offsetof(Frame, exit_flags)), kAddress);
  a.load(kTest, in_frame(offsetof(Frame, state)));
  for (unsigned guest = 0; guest < x86::kGprCount; ++guest) {
    const Host host = host_register(guest);
    if (host != kInFrame) {
      a.store(state_gpr(kTest, guest), host);
    } else {
      a.load(kAddress, guest_slot(guest));
      a.store(state_gpr(kTest, guest), kAddress);
    }
  }
  save_vectors(a, 0);
  save_x87(a, 0);
  for (unsigned kind = 0; kind < kVectorKinds; ++kind)
    set_field(a, in_frame(offsetof(Frame, vectors) + kind * 8), 0);
  a.load(x86::kRsp, in_frame(offsetof(Frame, host_rsp)));
  for (unsigned i = std::size(kCalleeSaved); i-- > 0;) pop(a, kCalleeSaved[i]);
  a.byte(0xc3);
}

const u8* emit_leave_for(Assembler& a, Leave reason, const u8* leave) {
  const u8* start = a.here();
  a.set(kTest, static_cast<u64>(reason));
  a.jump_to(leave);
  return start;
}

// Stack below the frame: return address, flags, registers.
const u8* emit_function(Assembler& a, Function function, const u8* leave_to_interpret) {
  const u8* start = a.here();
  constexpr unsigned kDepth = 8 * (2 + std::size(kCallerSaved));
  a.byte(0x9c);  // pushfq
  for (const u8 reg : kCallerSaved) push(a, reg);
  a.move(x86::kR8, kTest);
  save_vectors(a, kDepth);
  save_x87(a, kDepth);
  a.move(x86::kRdx, x86::kR8);
  a.lea(x86::kRdi, frame_field(0, kDepth));
  a.move(x86::kRsi, kAddress);
  a.load(x86::kRcx, {.base = x86::kRsp, .displacement = kDepth - 8});
  a.move(x86::kRax, x86::kRsp);
  a.load(x86::kRsp, frame_field(offsetof(Frame, host_rsp), kDepth));
  // The host's stack is 8 bytes off a multiple of 16 after six pushes and a return address.
  push(a, x86::kRax);
  a.set(x86::kRax, reinterpret_cast<u64>(function));
  a.bytes({0xff, 0xd0});  // call rax
  pop(a, x86::kRsp);
  a.store(frame_field(offsetof(Frame, saved_rsp), kDepth), x86::kRax);
  // x87 and vector registers come back if they had been here.
  a.load(kTest, frame_field(offsetof(Frame, vectors) + 16, kDepth));
  a.op(true, {0x85}, kTest, kTest);
  const u32 skip_x87 = a.jump_if(kJz);
  move_x87(a, kDepth, false);
  a.bind(skip_x87);
  a.load(kTest, frame_field(offsetof(Frame, vectors), kDepth));
  a.op(true, {0x0b}, kTest, frame_field(offsetof(Frame, vectors) + 8, kDepth));
  const u32 skip = a.jump_if(kJz);
  load_vectors(a, kDepth);
  a.bind(skip);
  for (unsigned i = std::size(kCallerSaved); i-- > 0;) pop(a, kCallerSaved[i]);
  a.byte(0x9d);  // popfq
  a.load(kTest, frame_field(offsetof(Frame, saved_rsp), 8));
  if (leave_to_interpret != nullptr) {
    const u32 failed = a.jump_if_zero();
    a.byte(0xc3);
    a.bind_short(failed);
    a.lea(x86::kRsp, Memory{.base = x86::kRsp, .displacement = 8});
    a.load(kAddress, in_frame(offsetof(Frame, exit_rip)));
    a.jump_to(leave_to_interpret);
  } else {
    a.byte(0xc3);
  }
  return start;
}

// The jump cache first; what it has not is looked for, and the branch linked.
const u8* emit_far_user(Assembler& a, const u8* leave_to_look) {
  const u8* start = a.here();
  const Memory link = in_frame(offsetof(Frame, exit_link));
  const auto part = [](bool is_code) {
    return Memory{
        .base = kFrameRegister, .index = kAddend, .scale = 3, .displacement = jump_offset(kUser, is_code)};
  };
  a.store(link, kTest);
  a.set(kAddend, 0);
  a.crc32(kAddend, kAddress);
  a.pext(kAddend, kAddend, in_frame(offsetof(Frame, jump_mask)));
  a.load(kTest, part(false));
  a.lea(kTest, {.base = kTest, .index = kAddress});
  const u32 hit = a.jump_if_zero();
  a.jump_to(leave_to_look);
  a.bind_short(hit);
  a.store(link, kTest);
  a.jump_memory(part(true));
  return start;
}

// Back to the block; from `is_closed` the instruction goes to the interpreter instead.
void end_load(Assembler& a, u32 is_closed, const u8* leave_to_interpret) {
  a.bytes({0x9d, 0xc3});  // popfq, ret
  a.bind(is_closed);
  a.byte(0x9d);
  a.lea(x86::kRsp, Memory{.base = x86::kRsp, .displacement = 8});
  a.jump_to(leave_to_interpret);
}

// Loads all vector registers when instructions of this kind may run now.
const u8* emit_load_vectors(Assembler& a, unsigned kind, const u8* leave_to_interpret) {
  constexpr unsigned kDepth = 16;  // return address, flags
  const u8* start = a.here();
  a.byte(0x9c);
  compare_with_zero(a, frame_field(offsetof(Frame, vector_gates) + kind * 8, kDepth));
  const u32 is_closed = a.jump_if(kJz);
  load_vectors(a, kDepth);
  for (unsigned i = 0; i < 2; ++i) {
    a.load(kTest, frame_field(offsetof(Frame, vector_gates) + i * 8, kDepth));
    a.store(frame_field(offsetof(Frame, vectors) + i * 8, kDepth), kTest);
  }
  end_load(a, is_closed, leave_to_interpret);
  return start;
}

// The same with the x87 registers.
const u8* emit_load_x87(Assembler& a, const u8* leave_to_interpret) {
  constexpr unsigned kDepth = 16;            // return address, flags
  constexpr unsigned kDeeper = kDepth + 16;  // RAX, RDX
  const u8* start = a.here();
  a.byte(0x9c);
  compare_with_zero(a, frame_field(offsetof(Frame, vector_gates) + 16, kDepth));
  const u32 is_closed = a.jump_if(kJz);
  push(a, x86::kRax);
  push(a, x86::kRdx);
  a.load(kTest, frame_field(offsetof(Frame, state), kDeeper));
  a.load(x86::kRax, state_x87(kTest, offsetof(FxsaveArea, fip)));
  a.store(frame_field(offsetof(Frame, x87_pointer), kDeeper), x86::kRax);
  // FCW, FSW and the tags, then the registers, a word at a time: vector registers may be the guest's.
  a.load(x86::kRax, state_x87(kTest, 0));
  a.store(x87_image(0, kDeeper), x86::kRax);
  for (unsigned i = 0; i < 16; ++i) {
    const u64 at = offsetof(FxsaveArea, st) + i * 8;
    a.load(x86::kRax, state_x87(kTest, at));
    a.store(x87_image(at, kDeeper), x86::kRax);
  }
  set_field(a, x87_image(kStateBits, kDeeper), static_cast<u32>(x86::kXcr0X87));
  move_x87(a, kDeeper, false);
  set_field(a, frame_field(offsetof(Frame, vectors) + 16, kDeeper), 1);
  pop(a, x86::kRdx);
  pop(a, x86::kRax);
  end_load(a, is_closed, leave_to_interpret);
  return start;
}

}  // namespace

Thunks emit_thunks(Assembler& a, const Functions& functions) {
  Thunks thunks;
  thunks.enter = reinterpret_cast<void (*)(Frame*)>(reinterpret_cast<u64>(a.here()));
  emit_enter(a);
  const u8* leave = a.here();
  emit_leave(a);
  thunks.leave_to_look = emit_leave_for(a, Leave::kLook, leave);
  thunks.leave_to_interpret = emit_leave_for(a, Leave::kInterpret, leave);
  thunks.leave_for_budget = emit_leave_for(a, Leave::kBudget, leave);
  thunks.miss = emit_function(a, functions.miss, thunks.leave_to_interpret);
  thunks.find = emit_function(a, functions.find, thunks.leave_to_interpret);
  thunks.tsc = emit_function(a, functions.tsc, nullptr);
  thunks.far_user = emit_far_user(a, thunks.leave_to_look);
  for (unsigned kind = 0; kind < 2; ++kind) {
    thunks.load_vectors[kind] = emit_load_vectors(a, kind, thunks.leave_to_interpret);
  }
  thunks.load_vectors[2] = emit_load_x87(a, thunks.leave_to_interpret);
  return thunks;
}

}  // namespace doppel::jit
