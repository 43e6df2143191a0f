// Decoding, layout of a block, and what lies behind it.
#include "engine/jit/translator.h"

#include "base/verify.h"

namespace doppel::jit {

Translator::Translator(const TranslationContext& context, const BlockKey& key)
    : a_(context.assembler),
      base_(context.base),
      thunks_(context.thunks),
      blocks_(context.blocks),
      faults_(context.faults),
      options_(context.options),
      key_(key),
      next_mode_(key.mode) {}

void Translator::decode(std::span<const u8> code) {
  const InstructionDecoder decoder(8, true, options_.features);
  items_.reserve(16);
  u64 offset = 0;
  while (items_.size() < options_.instructions && offset < code.size()) {
    Item& item = items_.emplace_back();
    const auto status = decoder.decode(code.data() + offset, code.size() - offset, offset, item.decoded);
    item.rip = key_.rip + offset;
    if (status != InstructionDecoder::Status::kOk) {
      item.classified = {};
      item.decoded.instruction.length = 0;
      break;
    }
    item.classified = classify(item.decoded, options_.features);
    offset += item.decoded.instruction.length;
    const Kind kind = item.classified.kind;
    // Where instructions are counted, a block is executed whole.
    const bool may_branch = kind == Kind::kJumpIf && options_.counts;
    const bool is_system = kind == Kind::kAccessFlag || kind == Kind::kSystemCall ||
                           kind == Kind::kSystemReturn || kind == Kind::kSerialize;
    const bool goes_on = !may_branch && !is_system && kind != Kind::kInterpret && kind != Kind::kJump &&
                         kind != Kind::kCall && kind != Kind::kJumpIndirect && kind != Kind::kCallIndirect &&
                         kind != Kind::kReturn;
    if (!goes_on) break;
  }
  end_rip_ = key_.rip + offset;
}

Block Translator::translate(std::span<const u8> code) {
  decode(code);
  Block block{.key = key_, .bytes = static_cast<u32>(end_rip_ - key_.rip)};
  block.instructions = static_cast<u32>(items_.size());
  emit_head(block);
  if (options_.counts) charge();
  bool is_open = true;
  for (const Item& item : items_) {
    is_open = emit_item(item);
    if (!is_open) break;
  }
  // A serializing instruction looks for attention, as another CPU may have changed what follows.
  const bool polls = items_.back().classified.kind == Kind::kSerialize;
  if (is_open) go_to(end_rip_, polls ? end_rip_ : end_rip_ - 1);
  emit_detours();
  block.end = position();
  return block;
}

// Where the block leaves when attention is wanted, or its vector registers are not there; both are near
// enough for JRCXZ.
void Translator::emit_head(Block& block) {
  unsigned vectors = 0;
  for (const Item& item : items_) {
    if (item.classified.vectors != Vectors::kNone) vectors |= 1u << static_cast<u8>(item.classified.vectors);
  }
  u32 load[2] = {};
  u32 back[2] = {};
  for (unsigned kind = 0; kind < 2; ++kind) {
    if ((vectors >> kind & 1) == 0) continue;
    load[kind] = a_.position();
    a_.set(kAddress, key_.rip);
    a_.call_to(thunks_.load_vectors[kind]);
    back[kind] = a_.jump();
  }
  island_ = a_.position();
  a_.set(kAddress, key_.rip);
  a_.jump_to(thunks_.leave_to_look);
  entry_ = a_.position();
  a_.load(kTest, in_frame(offsetof(Frame, go)));
  a_.jump_if_zero_to(island_);
  block.island = island_ + base_;
  block.entry = entry_ + base_;
  block.direct = position();
  for (unsigned kind = 0; kind < 2; ++kind) {
    if ((vectors >> kind & 1) == 0) continue;
    a_.load(kTest, in_frame(offsetof(Frame, vectors) + kind * 8));
    a_.jump_if_zero_to(load[kind]);
    a_.bind(back[kind]);
  }
  // Room for the jump that replaces a dead block's beginning.
  if (vectors == 0) a_.bytes({0x0f, 0x1f, 0x44, 0x00, 0x00});
}

// False: nothing is executed behind it.
bool Translator::emit_item(const Item& item) {
  switch (item.classified.kind) {
    case Kind::kInterpret:
      interpret_from(item.rip);
      return false;
    case Kind::kPlain:
      emit_plain(item);
      return true;
    case Kind::kNothing:
      return true;
    case Kind::kLea:
      emit_lea(item);
      return true;
    case Kind::kPush:
      emit_push(item);
      return true;
    case Kind::kPop:
      emit_pop(item);
      return true;
    case Kind::kLeave:
      emit_leave(item);
      return true;
    case Kind::kJumpIf:
      emit_jump_if(item);
      return true;
    case Kind::kJump:
      go_to(item.next() + static_cast<u64>(item.decoded.operand(0).imm.value.s), item.rip);
      return false;
    case Kind::kCall:
      emit_call(item);
      return false;
    case Kind::kReturn:
      emit_return(item);
      return false;
    case Kind::kJumpIndirect:
    case Kind::kCallIndirect:
      emit_indirect(item);
      return false;
    case Kind::kBitString:
      emit_bit_string(item);
      return true;
    case Kind::kString:
      emit_string(item);
      return true;
    default:
      return emit_system(item);
  }
}

// The whole block, at its beginning; what is not executed is given back on the way out.
void Translator::charge() {
  const Memory budget = in_frame(offsetof(Frame, budget));
  a_.load(kTest, budget);
  a_.lea(kTest, {.base = kTest, .displacement = -static_cast<i32>(items_.size())});
  a_.store(budget, kTest);
  a_.pext(kTest, kTest, in_frame(offsetof(Frame, sign_mask)));
  const u32 covered = a_.jump_if_zero();
  detours_.push_back({.aside = Aside::kBudget,
                      .branch = a_.jump(),
                      .retry = 0,
                      .rip = key_.rip,
                      .access = 0,
                      .address = kAddress});
  a_.bind_short(covered);
}

void Translator::give_back(u64 rip) {
  i32 left = 0;
  for (const Item& item : items_) left += item.rip >= rip ? 1 : 0;
  const Memory budget = in_frame(offsetof(Frame, budget));
  a_.load(kTest, budget);
  a_.lea(kTest, {.base = kTest, .displacement = left});
  a_.store(budget, kTest);
}

void Translator::interpret_from(u64 rip) {
  if (options_.counts) give_back(rip);
  a_.set(kAddress, rip);
  a_.jump_to(thunks_.leave_to_interpret);
}

void Translator::emit_detours() {
  for (const Detour& detour : detours_) {
    a_.bind(detour.branch);
    switch (detour.aside) {
      case Aside::kMiss:
        a_.move(kAddress, detour.address);
        a_.set(kTest, detour.access);
        a_.call_to(thunks_.miss);
        a_.bytes({0xe3, 5});  // jrcxz over the jump
        a_.jump_to(a_.at(detour.retry));
        interpret_from(detour.rip);
        break;
      case Aside::kFind:
        a_.set(kTest, static_cast<u64>(key_.mode));
        a_.call_to(thunks_.find);
        a_.bytes({0xe3, 5});
        a_.jump_to(a_.at(detour.retry));
        interpret_from(detour.rip);
        break;
      case Aside::kInterpret:
        interpret_from(detour.rip);
        break;
      case Aside::kLink:
        a_.set(kAddress, base_ + detour.branch + (detour.access != 0 ? kLinkIsBackward : 0));
        a_.store(in_frame(offsetof(Frame, exit_link)), kAddress);
        a_.set(kAddress, detour.rip);
        a_.jump_to(thunks_.leave_to_look);
        break;
      case Aside::kLook:
        emit_look_for(detour.rip, key_.mode);
        break;
      case Aside::kBudget:
        give_back(key_.rip);
        a_.set(kAddress, key_.rip);
        a_.jump_to(thunks_.leave_for_budget);
        break;
    }
  }
  for (const Fault& fault : fault_places_) {
    faults_.add(fault.position + base_, position());
    interpret_from(fault.rip);
  }
}

}  // namespace doppel::jit
