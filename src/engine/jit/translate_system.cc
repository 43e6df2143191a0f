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
  const u32 is_zero = a_.jump_if_zero();
  detours_.push_back({.aside = Aside::kInterpret,
                      .branch = a_.jump(),
                      .retry = 0,
                      .rip = item.rip,
                      .access = 0,
                      .address = kAddress});
  a_.bind_short(is_zero);
}

void Translator::require_zero(const Item& item, u64 field) {
  a_.load(kTest, in_frame(field));
  require_zero(item);
}

// An interrupt that waits comes as soon as RFLAGS.IF allows it.
void Translator::require_no_interrupt(const Item& item) {
  a_.load(kTest, in_frame(offsetof(Frame, pending)));
  a_.op(false, {0x0f, 0xb6}, kTest, {.base = kTest});  // movzx
  require_zero(item);
}

// RFLAGS as software sees it. Uses kAddress and kTest.
void Translator::emit_flags_image(Host to) {
  a_.byte(0x9c);           // pushfq
  a_.bytes({0x41, 0x5e});  // pop kAddress
  static_assert(kAddress == x86::kR14);
  const Memory mask = in_frame(offsetof(Frame, arithmetic_mask));
  a_.pext(kAddress, kAddress, mask);
  a_.vex({2, 3, 1, 0, 0xf5}, kAddress, kAddress, mask);  // pdep
  a_.load(kTest, kInterruptFlag);
  a_.lea(kAddress, {.base = kAddress, .index = kTest});
  a_.load(kTest, kOtherFlags);
  a_.lea(to, {.base = kAddress, .index = kTest});
}

void Translator::emit_push_flags(const Item& item) {
  emit_flags_image(kAddress);
  a_.store(in_frame(offsetof(Frame, scratch)), kAddress);
  a_.lea(kAddress, {.base = kGuestRsp, .displacement = -8});
  const Memory place = emit_access(item, kAddress, 8, true);
  a_.load(kTest, in_frame(offsetof(Frame, scratch)));
  a_.store(place, kTest);
  a_.move(kGuestRsp, kAddress);
}

void Translator::emit_flag_instruction(const Item& item) {
  switch (item.decoded.instruction.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
      set_field(a_, kInterruptFlag, 0);
      break;
    case ZYDIS_MNEMONIC_STI:
      require_no_interrupt(item);
      set_field(a_, kInterruptFlag, static_cast<u32>(x86::kFlagIf));
      break;
    case ZYDIS_MNEMONIC_CLD:
      a_.load(kTest, kOtherFlags);
      a_.pext(kTest, kTest, in_frame(offsetof(Frame, direction_mask)));
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
  a_.load(kTest, kOtherFlags);
  a_.lea(kTest, {.base = kTest, .displacement = sets ? kAc : -kAc});
  a_.store(kOtherFlags, kTest);
  next_mode_ = wanted;
}

void Translator::emit_swap_gs() {
  const Memory current = in_frame(offsetof(Frame, gs_base));
  const Memory other = in_frame(offsetof(Frame, kernel_gs_base));
  a_.load(kTest, current);
  a_.load(kAddress, other);
  a_.store(current, kAddress);
  a_.store(other, kTest);
}

// CS and SS. Uses kAddress and kTest.
void Translator::emit_segments(unsigned which) {
  a_.load(kTest, in_frame(offsetof(Frame, state)));
  static constexpr u8 kSegments[] = {x86::kCs, x86::kSs};
  for (unsigned i = 0; i < 2; ++i) {
    for (unsigned half = 0; half < 2; ++half) {
      const u64 from = offsetof(Frame, system_segments) + which * 32 + i * 16 + half * 8;
      a_.load(kAddress, in_frame(from));
      a_.store(state_field(offsetof(CpuState, segments) + kSegments[i] * sizeof(Segment) + half * 8),
               kAddress);
    }
  }
}

// To the block at kAddress in another mode.
void Translator::emit_look_in(AccessMode mode) {
  a_.pext(kAddend, kAddress, in_frame(offsetof(Frame, jump_mask)));
  a_.load(kTest,
          {.base = kFrameRegister, .index = kAddend, .scale = 3, .displacement = jump_offset(mode, false)});
  a_.lea(kTest, {.base = kTest, .index = kAddress});
  const u32 hit = a_.jump_if_zero();
  a_.jump_to(thunks_.leave_to_look);
  a_.bind_short(hit);
  a_.jump_memory(
      {.base = kFrameRegister, .index = kAddend, .scale = 3, .displacement = jump_offset(mode, true)});
}

// SDM 2B "SYSCALL". IA32_FMASK clears all arithmetic flags, else it is closed.
void Translator::emit_system_call(const Item& item) {
  require_zero(item, offsetof(Frame, syscall_closed));
  emit_flags_image(x86::kR11);
  a_.set(kGuestRcx, item.next());
  emit_segments(0);
  a_.load(kAddress, kOtherFlags);
  a_.op(true, {0x23}, kAddress, in_frame(offsetof(Frame, kept_by_syscall)));  // and
  a_.store(kOtherFlags, kAddress);
  set_field(a_, kInterruptFlag, 0);
  a_.set(kTest, 0);
  a_.op(true, {0x83}, 0, kTest);  // add 1: clears all arithmetic flags
  a_.byte(1);
  a_.load(kAddress, in_frame(offsetof(Frame, syscall_target)));
  emit_look_in(kSupervisor);
}

// SDM 2B "SYSRET", to 64-bit code in the lower half with flags that nothing depends on.
void Translator::emit_system_return(const Item& item) {
  require_zero(item, offsetof(Frame, syscall_closed));
  require_no_interrupt(item);
  a_.pext(kTest, kGuestRcx, in_frame(offsetof(Frame, not_user_mask)));
  require_zero(item);
  a_.pext(kTest, x86::kR11, in_frame(offsetof(Frame, not_sysret_mask)));
  require_zero(item);
  emit_segments(1);
  set_field(a_, kOtherFlags, static_cast<u32>(x86::kFlagReserved1));
  a_.move(kAddress, x86::kR11);
  a_.op(false, {0x81}, 4, kAddress);  // and
  a_.word32(static_cast<u32>(x86::kFlagIf));
  a_.store(kInterruptFlag, kAddress);
  a_.move(kAddress, x86::kR11);
  a_.op(false, {0x81}, 4, kAddress);
  a_.word32(static_cast<u32>(x86::kArithmeticFlags));
  a_.bytes({0x41, 0x56, 0x9d});  // push kAddress, popfq
  a_.move(kAddress, kGuestRcx);
  emit_look_in(kUser);
}

void Translator::emit_read_tsc(const Item& item) {
  if (key_.mode == kUser) require_zero(item, offsetof(Frame, tsc_closed));
  a_.call_to(thunks_.tsc);
  a_.op(false, {0x89}, kTest, x86::kRax);
  a_.vex({3, 3, 1, 0, 0xf0}, x86::kRdx, 0, kTest);  // rorx
  a_.byte(32);
  a_.op(false, {0x89}, x86::kRdx, x86::kRdx);
  if (item.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_RDTSCP) {
    a_.load(kTest, in_frame(offsetof(Frame, state)));
    a_.op(false, {0x8b}, kGuestRcx, state_field(offsetof(CpuState, tsc_aux)));
  }
}

void Translator::emit_read_base(const Item& item) {
  require_zero(item, offsetof(Frame, fsgsbase_closed));
  const ZydisDecodedOperand& to = item.decoded.operand(0);
  const bool is_fs = item.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_RDFSBASE;
  a_.op(to.size == 64, {0x8b}, kTest, in_frame(is_fs ? offsetof(Frame, fs_base) : offsetof(Frame, gs_base)));
  store_guest(guest_number(to.reg.value), kTest);
}

void Translator::emit_read_control(const Item& item) {
  const bool is_cr2 = item.decoded.operand(1).reg.value == ZYDIS_REGISTER_CR2;
  a_.load(kTest, in_frame(offsetof(Frame, state)));
  a_.load(kTest, state_field(is_cr2 ? offsetof(CpuState, cr2) : offsetof(CpuState, cr3)));
  store_guest(guest_number(item.decoded.operand(0).reg.value), kTest);
}

// False: nothing is executed behind it.
bool Translator::emit_system(const Item& item) {
  const bool is_user = key_.mode == kUser;
  const Kind kind = item.classified.kind;
  const bool is_for_user =
      kind == Kind::kSystemCall || kind == Kind::kReadTsc || kind == Kind::kReadBase ||
      kind == Kind::kSerialize ||
      (kind == Kind::kFlags && (item.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_PUSHFQ ||
                                item.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_CLD));
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
    default:                         // kSerialize: what follows is looked at anew
      a_.bytes({0x0f, 0xae, 0xf0});  // mfence
      return true;
  }
}

}  // namespace doppel::jit
