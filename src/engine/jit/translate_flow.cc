// Branches, calls and the stack.
#include "engine/jit/translator.h"

namespace doppel::jit {
namespace {

constexpr Memory below(unsigned bytes) {
  return {.base = kGuestRsp, .displacement = -static_cast<i32>(bytes)};
}
constexpr Memory above(unsigned bytes) {
  return {.base = kGuestRsp, .displacement = static_cast<i32>(bytes)};
}

}  // namespace

void Translator::emit_push(const Item& item) {
  const ZydisDecodedOperand& operand = item.decoded.operand(0);
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    load_word(kTest, emit_operand(item, operand));
    assembler_->store(in_frame(offsetof(Frame, scratch)), kTest);
  }
  lea_word(kAddress, below(word()));
  const Memory place = emit_access(item, kAddress, word(), true);
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    assembler_->load(kTest, in_frame(offsetof(Frame, scratch)));
    store_word(place, kTest);
  } else {
    store_pushed(item, place);
  }
  assembler_->move(kGuestRsp, kAddress);
}

void Translator::emit_pop(const Item& item) {
  const unsigned guest = guest_number(item.decoded.operand(0).reg.value);
  const Memory place = emit_access(item, kGuestRsp, word(), false);
  load_popped(guest, place);
  if (guest != x86::kRsp) lea_word(kGuestRsp, above(word()));
}

void Translator::emit_leave(const Item& item) {
  const Memory place = emit_access(item, x86::kRbp, word(), false);
  load_word(kTest, place);
  lea_word(kGuestRsp, {.base = x86::kRbp, .displacement = static_cast<i32>(word())});
  assembler_->move(x86::kRbp, kTest);
}

// The return address goes onto the guest's stack.
void Translator::emit_push_return(const Item& item) {
  lea_word(kAddress, below(word()));
  store_return(item, emit_access(item, kAddress, word(), true));
  assembler_->move(kGuestRsp, kAddress);
}

void Translator::emit_call(const Item& item) {
  emit_push_return(item);
  go_to(target_of(item), item.rip);
}

// Goes on with the entry's index in kAddend when the block at kAddress is known; else the interpreter does
// the branch, with its checks of the target.
void Translator::emit_lookup(const Item& item) {
  const u32 retry = assembler_->position();
  assembler_->set(kAddend, 0);
  assembler_->crc32(kAddend, kAddress);
  assembler_->pext(kAddend, kAddend, in_frame(offsetof(Frame, jump_mask)));
  assembler_->load(
      kTest,
      {.base = kFrameRegister, .index = kAddend, .scale = 3, .displacement = jump_offset(key_.mode, false)});
  assembler_->lea(kTest, {.base = kTest, .index = kAddress});
  const u32 hit = assembler_->jump_if_zero();
  const u32 miss = assembler_->jump();
  assembler_->bind_short(hit);
  const Detail detail{
      .mode = key_.mode, .offset = static_cast<unsigned>(item.rip - key_.rip), .left = left_from(item.rip)};
  detours_.push_back(
      {.aside = Aside::kFind, .branch = miss, .retry = retry, .rip = item.rip, .detail = detail.pack()});
}

void Translator::emit_return(const Item& item) {
  const Memory place = emit_access(item, kGuestRsp, word(), false);
  load_word(kAddress, place);
  emit_jump_from_return(item);
}

// The target is in kAddress; the guest's stack pointer still points to where it was.
void Translator::emit_jump_from_return(const Item& item) {
  emit_lookup(item);
  const ZydisDecodedOperand& operand = item.decoded.operand(0);
  const bool pops = operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  lea_word(kGuestRsp, above(word() + (pops ? static_cast<unsigned>(operand.imm.value.u) : 0)));
  assembler_->jump_memory(code_of(kAddend));
}

void Translator::emit_load_target(const Item& item) {
  const ZydisDecodedOperand& operand = item.decoded.operand(0);
  if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
    load_word(kAddress, emit_operand(item, operand));
  } else {
    load_guest(kAddress, guest_number(operand.reg.value));
  }
}

void Translator::emit_indirect(const Item& item) {
  emit_load_target(item);
  emit_lookup(item);
  if (item.classified.kind == Kind::kJumpIndirect) {
    assembler_->jump_memory(code_of(kAddend));
    return;
  }
  assembler_->load(kTest, code_of(kAddend));
  assembler_->store(in_frame(offsetof(Frame, scratch) + 8), kTest);
  emit_push_return(item);
  assembler_->jump_memory(in_frame(offsetof(Frame, scratch) + 8));
}

// Jcc: the opcode's low bits are the condition, in the short and in the long form.
void Translator::emit_jump_if(const Item& item) {
  bind_target(assembler_->jump_if(item.decoded.instruction.opcode & 0xf), target_of(item), item.rip);
}

// Counts are in RCX, or ECX with 32-bit addresses.
void Translator::emit_loop(const Item& item) {
  constexpr unsigned kZero = 4;
  constexpr unsigned kNotZero = 5;
  const auto& instruction = item.decoded.instruction;
  const bool is_wide = instruction.address_width == 64;
  const bool counts = instruction.opcode != 0xe3;  // JRCXZ
  if (counts) assembler_->op(is_wide, {0x8d}, kGuestRcx, Memory{.base = kGuestRcx, .displacement = -1});
  assembler_->op(is_wide, {0x89}, kGuestRcx, kTest);
  const u32 is_zero = assembler_->jump_if_zero();
  u32 branch = 0;
  u32 next = 0;
  switch (instruction.opcode) {
    case 0xe0:  // LOOPNE
      branch = assembler_->jump_if(kNotZero);
      break;
    case 0xe1:  // LOOPE
      branch = assembler_->jump_if(kZero);
      break;
    case 0xe2:
      branch = assembler_->jump();
      break;
    default:
      next = assembler_->jump();
      assembler_->bind_short(is_zero);
      branch = assembler_->jump();
      assembler_->bind(next);
      break;
  }
  if (counts) assembler_->bind_short(is_zero);
  bind_target(branch, target_of(item), item.rip);
}

// Where a branch leads, from now on or once it has been taken.
void Translator::bind_target(u32 branch, u64 target, u64 from) {
  if (!is_linkable(target)) {
    detours_.push_back({.aside = Aside::kLook, .branch = branch, .rip = target});
    return;
  }
  if (target == key_.rip && next_mode_ == key_.mode) {
    assembler_->bind_to(branch, assembler_->at(entry_));
    return;
  }
  const bool is_far = !is_same_page(target);
  const u64 link = (is_far || target <= from ? kLinkLooks : 0) | (is_far ? kLinkIsFar : 0);
  detours_.push_back({.aside = Aside::kLink, .branch = branch, .rip = target, .link = link});
}

void Translator::go_to(u64 target, u64 from) {
  if (is_linkable(target)) {
    bind_target(assembler_->jump(), target, from);
  } else {
    emit_look_for(target, next_mode_);
  }
}

// The distances between the parts are known to BranchPatcher::link().
void Translator::emit_far_user(u64 target) {
  assembler_->load(kTest, in_frame(offsetof(Frame, user_epoch)));
  assembler_->lea(kTest, {.base = kTest, .displacement = -static_cast<i32>(kEpochBits)});
  const u32 is_current = assembler_->jump_if_zero();
  assembler_->bytes({0xeb, 5});  // over the branch
  assembler_->bind_short(is_current);
  const u32 branch = assembler_->jump();
  relocate(Relocation::Kind::kEpoch, branch - 9);
  relocate(Relocation::Kind::kBranch, branch, assembler_->position());
  assembler_->bind(branch);
  set_address(kAddress, target);
  set_place(kTest, (base_ + branch) | kFarUserLink);
  jump_out(thunks_.far_user);
}

// To another page: what its address means depends on the address space, so the jump cache decides.
void Translator::emit_look_for(u64 target, AccessMode mode) {
  if (mode == kUser && options_.links) return emit_far_user(target);
  // The place in the jump cache depends on the address.
  is_copyable_ = false;
  const auto entry = static_cast<i32>(JumpCache::index(target) * 8);
  assembler_->set(kAddress, target);
  if (!options_.links) return jump_out(thunks_.leave_to_look);
  assembler_->load(kTest, {.base = kFrameRegister, .displacement = jump_offset(mode, false) + entry});
  assembler_->lea(kTest, {.base = kTest, .index = kAddress});
  const u32 hit = assembler_->jump_if_zero();
  jump_out(thunks_.leave_to_look);
  assembler_->bind_short(hit);
  assembler_->jump_memory({.base = kFrameRegister, .displacement = jump_offset(mode, true) + entry});
}

}  // namespace doppel::jit
