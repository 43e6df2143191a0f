// Privileged and system instructions that need no C++ code: what they change is in the frame.
#include "engine/jit/translator.h"

namespace doppel::jit {
namespace {

constexpr Memory kOtherFlags = in_frame(offsetof(Frame, other_flags));
constexpr Memory kInterruptFlag = in_frame(offsetof(Frame, interrupt_flag));

Memory state_field(u64 offset) { return {.base = kTest, .displacement = static_cast<i32>(offset)}; }

void set_field(Assembler& a, const Memory& field, u32 value) {
  a.op(true, {0xc7}, 0, field);
  a.word32(value);
}

}  // namespace

// The interpreter does the instruction unless kTest is zero.
void Translator::require_zero(const Item& item) {
  const u32 is_zero = assembler_->jump_if_zero();
  detours_.push_back({.aside = Aside::kInterpret, .branch = assembler_->jump(), .rip = item.rip});
  assembler_->bind_short(is_zero);
}

void Translator::require_zero(const Item& item, u64 field) {
  assembler_->load(kTest, in_frame(field));
  require_zero(item);
}

// An interrupt that waits comes as soon as RFLAGS.IF allows it.
void Translator::require_no_interrupt(const Item& item) {
  assembler_->load(kTest, in_frame(offsetof(Frame, pending)));
  assembler_->op(false, {0x0f, 0xb6}, kTest, {.base = kTest});  // movzx
  require_zero(item);
}

// RFLAGS as software sees it. Uses kAddress and kTest.
void Translator::emit_flags_image(Host to) {
  assembler_->byte(0x9c);           // pushfq
  assembler_->bytes({0x41, 0x5e});  // pop kAddress
  static_assert(kAddress == x86::kR14);
  const Memory mask = in_frame(offsetof(Frame, arithmetic_mask));
  assembler_->pext(kAddress, kAddress, mask);
  assembler_->vex({2, 3, 1, 0, 0xf5}, kAddress, kAddress, mask);  // pdep
  assembler_->load(kTest, kInterruptFlag);
  assembler_->lea(kAddress, {.base = kAddress, .index = kTest});
  assembler_->load(kTest, kOtherFlags);
  assembler_->lea(to, {.base = kAddress, .index = kTest});
}

void Translator::emit_push_flags(const Item& item) {
  emit_flags_image(kAddress);
  assembler_->store(in_frame(offsetof(Frame, scratch)), kAddress);
  lea_word(kAddress, {.base = kGuestRsp, .displacement = -static_cast<i32>(word())});
  const Memory place = emit_access(item, kAddress, word(), true);
  assembler_->load(kTest, in_frame(offsetof(Frame, scratch)));
  store_word(place, kTest);
  assembler_->move(kGuestRsp, kAddress);
}

void Translator::emit_flag_instruction(const Item& item) {
  switch (item.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
      set_field(*assembler_, kInterruptFlag, 0);
      break;
    case ZYDIS_MNEMONIC_STI:
      require_no_interrupt(item);
      set_field(*assembler_, kInterruptFlag, static_cast<u32>(x86::kFlagIf));
      break;
    case ZYDIS_MNEMONIC_CLD:
      assembler_->load(kTest, kOtherFlags);
      assembler_->pext(kTest, kTest, in_frame(offsetof(Frame, direction_mask)));
      require_zero(item);
      break;
    default:
      emit_push_flags(item);
      break;
  }
}

// What follows runs with other translation tables.
void Translator::emit_access_flag(const Item& item) {
  const bool sets = item.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_STAC;
  const AccessMode wanted = sets ? kSupervisorAc : kSupervisor;
  if (wanted == key_.mode) return;
  constexpr auto kAc = static_cast<i32>(x86::kFlagAc);
  assembler_->load(kTest, kOtherFlags);
  assembler_->lea(kTest, {.base = kTest, .displacement = sets ? kAc : -kAc});
  assembler_->store(kOtherFlags, kTest);
  next_mode_ = wanted;
}

void Translator::emit_swap_gs() {
  const Memory current = in_frame(offsetof(Frame, gs_base));
  const Memory other = in_frame(offsetof(Frame, kernel_gs_base));
  assembler_->load(kTest, current);
  assembler_->load(kAddress, other);
  assembler_->store(current, kAddress);
  assembler_->store(other, kTest);
}

// CS and SS. Uses kAddress and kTest.
void Translator::emit_segments(unsigned which) {
  assembler_->load(kTest, in_frame(offsetof(Frame, state)));
  static constexpr u8 kSegments[] = {x86::kCs, x86::kSs};
  for (unsigned i = 0; i < 2; ++i) {
    for (unsigned half = 0; half < 2; ++half) {
      const u64 from = offsetof(Frame, system_segments) + which * 32 + i * 16 + half * 8;
      assembler_->load(kAddress, in_frame(from));
      assembler_->store(state_field(offsetof(CpuState, segments) + kSegments[i] * sizeof(Segment) + half * 8),
                        kAddress);
    }
  }
}

// To the block at kAddress in another mode.
void Translator::emit_look_in(AccessMode mode) {
  assembler_->set(kAddend, 0);
  assembler_->crc32(kAddend, kAddress);
  assembler_->pext(kAddend, kAddend, in_frame(offsetof(Frame, jump_mask)));
  assembler_->load(
      kTest,
      {.base = kFrameRegister, .index = kAddend, .scale = 3, .displacement = jump_offset(mode, false)});
  assembler_->lea(kTest, {.base = kTest, .index = kAddress});
  const u32 hit = assembler_->jump_if_zero();
  jump_out(thunks_.leave_to_look);
  assembler_->bind_short(hit);
  assembler_->jump_memory(
      {.base = kFrameRegister, .index = kAddend, .scale = 3, .displacement = jump_offset(mode, true)});
}

// SDM 2B "SYSCALL". IA32_FMASK clears all arithmetic flags, else it is closed.
void Translator::emit_system_call(const Item& item) {
  require_zero(item, offsetof(Frame, syscall_closed));
  emit_flags_image(x86::kR11);
  set_address(kGuestRcx, item.next());
  emit_segments(0);
  assembler_->load(kAddress, kOtherFlags);
  assembler_->op(true, {0x23}, kAddress, in_frame(offsetof(Frame, kept_by_syscall)));  // and
  assembler_->store(kOtherFlags, kAddress);
  set_field(*assembler_, kInterruptFlag, 0);
  assembler_->op(true, {0xff}, 0, in_frame(offsetof(Frame, system_calls)));  // inc
  assembler_->set(kTest, 0);
  assembler_->op(true, {0x83}, 0, kTest);  // add 1: clears all arithmetic flags
  assembler_->byte(1);
  assembler_->load(kAddress, in_frame(offsetof(Frame, syscall_target)));
  emit_look_in(kSupervisor);
}

// SDM 2B "SYSRET", to 64-bit code in the lower half with flags that nothing depends on.
void Translator::emit_system_return(const Item& item) {
  require_zero(item, offsetof(Frame, syscall_closed));
  require_no_interrupt(item);
  assembler_->pext(kTest, kGuestRcx, in_frame(offsetof(Frame, not_user_mask)));
  require_zero(item);
  assembler_->pext(kTest, x86::kR11, in_frame(offsetof(Frame, not_sysret_mask)));
  require_zero(item);
  emit_segments(1);
  set_field(*assembler_, kOtherFlags, static_cast<u32>(x86::kFlagReserved1));
  assembler_->move(kAddress, x86::kR11);
  assembler_->op(false, {0x81}, 4, kAddress);  // and
  assembler_->word32(static_cast<u32>(x86::kFlagIf));
  assembler_->store(kInterruptFlag, kAddress);
  assembler_->move(kAddress, x86::kR11);
  assembler_->op(false, {0x81}, 4, kAddress);
  assembler_->word32(static_cast<u32>(x86::kArithmeticFlags));
  assembler_->bytes({0x41, 0x56, 0x9d});  // push kAddress, popfq
  assembler_->move(kAddress, kGuestRcx);
  emit_look_in(kUser);
}

void Translator::emit_read_tsc(const Item& item) {
  if (key_.mode == kUser) require_zero(item, offsetof(Frame, tsc_closed));
  call_out(thunks_.tsc);
  assembler_->op(false, {0x89}, kTest, x86::kRax);
  assembler_->vex({3, 3, 1, 0, 0xf0}, x86::kRdx, 0, kTest);  // rorx
  assembler_->byte(32);
  assembler_->op(false, {0x89}, x86::kRdx, x86::kRdx);
  if (item.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_RDTSCP) {
    assembler_->load(kTest, in_frame(offsetof(Frame, state)));
    assembler_->op(false, {0x8b}, kGuestRcx, state_field(offsetof(CpuState, tsc_aux)));
  }
}

void Translator::emit_read_pid(const Item& item) {
  assembler_->load(kTest, in_frame(offsetof(Frame, state)));
  assembler_->op(false, {0x8b}, kTest, state_field(offsetof(CpuState, tsc_aux)));
  store_guest(guest_number(item.decoded.operand(0).reg.value), kTest);
}

void Translator::emit_read_base(const Item& item) {
  require_zero(item, offsetof(Frame, fsgsbase_closed));
  const ZydisDecodedOperand& to = item.decoded.operand(0);
  const bool is_fs = item.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_RDFSBASE;
  assembler_->op(to.size == 64, {0x8b}, kTest,
                 in_frame(is_fs ? offsetof(Frame, fs_base) : offsetof(Frame, gs_base)));
  store_guest(guest_number(to.reg.value), kTest);
}

void Translator::emit_read_control(const Item& item) {
  const bool is_cr2 = item.decoded.operand(1).reg.value == ZYDIS_REGISTER_CR2;
  assembler_->load(kTest, in_frame(offsetof(Frame, state)));
  load_word(kTest, state_field(is_cr2 ? offsetof(CpuState, cr2) : offsetof(CpuState, cr3)));
  store_guest(guest_number(item.decoded.operand(0).reg.value), kTest);
}

// A control word that masks all exceptions, from a copy: others may change the original.
void Translator::emit_load_x87_control(const Item& item) {
  const Memory copy = in_frame(offsetof(Frame, scratch));
  assembler_->op(false, {0x0f, 0xb7}, kTest, emit_operand(item, item.decoded.operand(0)));  // movzx
  assembler_->store(copy, kTest);
  assembler_->pext(kTest, kTest, in_frame(offsetof(Frame, x87_mask_bits)));
  assembler_->lea(kTest, {.base = kTest, .displacement = -0x3f});
  require_zero(item);
  assembler_->op(false, {0xd9}, 5, copy);
}

// False: nothing is executed behind it.
bool Translator::emit_system(const Item& item) {
  const bool is_user = key_.mode == kUser;
  const Kind kind = item.classified.kind;
  const bool is_for_user = kind == Kind::kSystemCall || kind == Kind::kReadTsc || kind == Kind::kReadBase ||
                           kind == Kind::kSerialize ||
                           (kind == Kind::kFlags && item.decoded.instruction.mnemonic != ZYDIS_MNEMONIC_CLI &&
                            item.decoded.instruction.mnemonic != ZYDIS_MNEMONIC_STI);
  // With a count of instructions the time of an instruction is exact, and the interpreter knows it.
  const bool needs_count = kind == Kind::kReadTsc && options_.counts;
  if (is_user != is_for_user && (is_user || kind == Kind::kSystemCall)) {
    interpret_from(item.rip);
    return false;
  }
  if (needs_count) {
    interpret_from(item.rip);
    return false;
  }
  switch (kind) {
    case Kind::kFlags:
      emit_flag_instruction(item);
      return true;
    case Kind::kAccessFlag:
      emit_access_flag(item);
      return true;
    case Kind::kSwapGs:
      emit_swap_gs();
      return true;
    case Kind::kSystemCall:
      emit_system_call(item);
      return false;
    case Kind::kSystemReturn:
      emit_system_return(item);
      return false;
    case Kind::kReadTsc:
      emit_read_tsc(item);
      return true;
    case Kind::kReadBase:
      emit_read_base(item);
      return true;
    case Kind::kReadControl:
      emit_read_control(item);
      return true;
    default:                                  // kSerialize: what follows is looked at anew
      assembler_->bytes({0x0f, 0xae, 0xf0});  // mfence
      return true;
  }
}

}  // namespace doppel::jit
