// Branches, calls and the stack.
#include "engine/jit/translator.h"

namespace doppel::jit {
namespace {

constexpr Memory below(i32 bytes) { return {.base = kGuestRsp, .displacement = -bytes}; }
constexpr Memory above(i32 bytes) { return {.base = kGuestRsp, .displacement = bytes}; }

bool is_sign_extended(u64 value) {
  return static_cast<u64>(static_cast<i64>(static_cast<i32>(value))) == value;
}

}  // namespace

void Translator::emit_push(const Item& item) {
  const ZydisDecodedOperand& operand = item.decoded.operand(0);
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    a_.load(kTest, emit_operand(item, operand));
    a_.store(in_frame(offsetof(Frame, scratch)), kTest);
  }
  a_.lea(kAddress, below(8));
  const Memory place = emit_access(item, kAddress, 8, true);
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    a_.op(true, {0xc7}, 0, place);
    a_.word32(static_cast<u32>(operand.imm.value.s));
  } else if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    a_.load(kTest, in_frame(offsetof(Frame, scratch)));
    a_.store(place, kTest);
  } else {
    const unsigned guest = guest_number(operand.reg.value);
    Host host = host_register(guest);
    if (host == kInFrame) load_guest(host = kTest, guest);
    a_.store(place, host);
  }
  a_.move(kGuestRsp, kAddress);
}

void Translator::emit_pop(const Item& item) {
  const unsigned guest = guest_number(item.decoded.operand(0).reg.value);
  const Memory place = emit_access(item, kGuestRsp, 8, false);
  const Host host = host_register(guest);
  if (guest == x86::kRsp) {
    a_.load(kGuestRsp, place);
    return;
  }
  if (host == kInFrame) {
    a_.load(kTest, place);
    store_guest(guest, kTest);
  } else {
    a_.load(host, place);
  }
  a_.lea(kGuestRsp, above(8));
}

void Translator::emit_leave(const Item& item) {
  const Memory place = emit_access(item, x86::kRbp, 8, false);
  a_.load(kTest, place);
  a_.lea(kGuestRsp, {.base = x86::kRbp, .displacement = 8});
  a_.move(x86::kRbp, kTest);
}

// The return address goes onto the guest's stack.
void Translator::emit_push_return(const Item& item) {
  a_.lea(kAddress, below(8));
  const Memory place = emit_access(item, kAddress, 8, true);
  if (is_sign_extended(item.next())) {
    a_.op(true, {0xc7}, 0, place);
    a_.word32(static_cast<u32>(item.next()));
  } else {
    a_.set(kTest, item.next());
    a_.store(place, kTest);
  }
  a_.move(kGuestRsp, kAddress);
}

void Translator::emit_call(const Item& item) {
  emit_push_return(item);
  go_to(item.next() + static_cast<u64>(item.decoded.operand(0).imm.value.s), item.rip);
}

// Goes on with the entry's index in kAddend when the block at kAddress is known; else the interpreter does
// the branch, with its checks of the target.
void Translator::emit_lookup(const Item& item) {
  const u32 retry = a_.position();
  a_.pext(kAddend, kAddress, in_frame(offsetof(Frame, jump_mask)));
  a_.load(
      kTest,
      {.base = kFrameRegister, .index = kAddend, .scale = 3, .displacement = jump_offset(key_.mode, false)});
  a_.lea(kTest, {.base = kTest, .index = kAddress});
  const u32 hit = a_.jump_if_zero();
  const u32 miss = a_.jump();
  a_.bind_short(hit);
  detours_.push_back({.aside = Aside::kFind,
                      .branch = miss,
                      .retry = retry,
                      .rip = item.rip,
                      .access = 0,
                      .address = kAddress});
}

void Translator::emit_return(const Item& item) {
  const Memory place = emit_access(item, kGuestRsp, 8, false);
  a_.load(kAddress, place);
  emit_lookup(item);
  const ZydisDecodedOperand& operand = item.decoded.operand(0);
  const bool pops = operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  a_.lea(kGuestRsp, above(8 + (pops ? static_cast<i32>(operand.imm.value.u) : 0)));
  a_.jump_memory(code_of(kAddend));
}

void Translator::emit_load_target(const Item& item) {
  const ZydisDecodedOperand& operand = item.decoded.operand(0);
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    a_.load(kAddress, emit_operand(item, operand));
  } else {
    load_guest(kAddress, guest_number(operand.reg.value));
  }
}

void Translator::emit_indirect(const Item& item) {
  emit_load_target(item);
  emit_lookup(item);
  if (item.classified.kind == Kind::kJumpIndirect) {
    a_.jump_memory(code_of(kAddend));
    return;
  }
  a_.load(kTest, code_of(kAddend));
  a_.store(in_frame(offsetof(Frame, scratch) + 8), kTest);
  emit_push_return(item);
  a_.jump_memory(in_frame(offsetof(Frame, scratch) + 8));
}

// Jcc: the opcode's low bits are the condition, in the short and in the long form.
void Translator::emit_jump_if(const Item& item) {
  const u64 target = item.next() + static_cast<u64>(item.decoded.operand(0).imm.value.s);
  bind_target(a_.jump_if(item.decoded.instruction.opcode & 0xf), target, item.rip);
}

// Where a branch leads, from now on or once it has been taken.
void Translator::bind_target(u32 branch, u64 target, u64 from) {
  if (!is_same_page(target) || !options_.links) {
    detours_.push_back({.aside = Aside::kLook,
                        .branch = branch,
                        .retry = 0,
                        .rip = target,
                        .access = 0,
                        .address = kAddress});
    return;
  }
  const bool is_backward = target <= from;
  if (target == key_.rip && next_mode_ == key_.mode) {
    a_.bind_to(branch, a_.at(entry_));
    return;
  }
  detours_.push_back({.aside = Aside::kLink,
                      .branch = branch,
                      .retry = 0,
                      .rip = target,
                      .access = is_backward ? 1u : 0u,
                      .address = kAddress});
}

void Translator::go_to(u64 target, u64 from) {
  if (is_same_page(target) && options_.links) {
    bind_target(a_.jump(), target, from);
  } else {
    emit_look_for(target, next_mode_);
  }
}

// To another page: what its address means depends on the address space, so the jump cache decides.
void Translator::emit_look_for(u64 target, AccessMode mode) {
  const auto entry = static_cast<i32>(JumpCache::index(target) * 8);
  a_.set(kAddress, target);
  if (!options_.links) return a_.jump_to(thunks_.leave_to_look);
  a_.load(kTest, in_frame(static_cast<u64>(jump_offset(mode, false) + entry)));
  a_.lea(kTest, {.base = kTest, .index = kAddress});
  const u32 hit = a_.jump_if_zero();
  a_.jump_to(thunks_.leave_to_look);
  a_.bind_short(hit);
  a_.jump_memory(in_frame(static_cast<u64>(jump_offset(mode, true) + entry)));
}

}  // namespace doppel::jit
