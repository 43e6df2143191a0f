// Decoding, layout of a block, and what lies behind it.
#include "engine/jit/translator.h"

#include <algorithm>

#include "base/verify.h"

namespace doppel::jit {
namespace {

// A block goes on behind a conditional branch, but not far: much of what follows is never executed.
constexpr unsigned kMaxBranches = 2;

// Of a block's code.
u16 narrow(u32 position) {
  VERIFY(position <= 0xffff);
  return static_cast<u16>(position);
}

}  // namespace

Translator::Translator(const TranslationContext& context)
    : thunks_(context.thunks),
      faults_(context.faults),
      options_(context.options),
      items_(std::make_unique_for_overwrite<Item[]>(context.options.instructions)) {
  VERIFY(context.options.instructions <= 0xff);  // Block::instructions
}

void Translator::decode(std::span<const u8> code, unsigned most) {
  const InstructionDecoder decoder = decoder_for(key_, options_.features);
  item_count_ = 0;
  u64 offset = 0;
  unsigned branches = 0;
  while (item_count_ < most && offset < code.size()) {
    Item& item = items_[item_count_++];
    const auto status = decoder.decode(code.data() + offset, code.size() - offset, offset, item.decoded);
    item.rip = key_.rip + offset;
    if (status != InstructionDecoder::Status::kOk) {
      // It begins a block of its own: it may reach into the next page.
      if (item_count_ > 1) {
        --item_count_;
        break;
      }
      item.classified = {};
      item.decoded.instruction.length = 0;
      break;
    }
    item.classified = classify(item.decoded, options_.features);
    offset += item.decoded.instruction.length;
    const Kind kind = item.classified.kind;
    // Where instructions are counted, a block is executed whole.
    const bool is_conditional = kind == Kind::kJumpIf || kind == Kind::kLoop;
    const bool may_branch = is_conditional && (options_.counts || ++branches == kMaxBranches);
    const bool is_system = kind == Kind::kAccessFlag || kind == Kind::kSystemCall ||
                           kind == Kind::kSystemReturn || kind == Kind::kSerialize;
    const bool goes_on = !may_branch && !is_system && kind != Kind::kInterpret && kind != Kind::kJump &&
                         kind != Kind::kCall && kind != Kind::kJumpIndirect && kind != Kind::kCallIndirect &&
                         kind != Kind::kReturn;
    if (!goes_on) break;
  }
  leave_out_last_sti(offset);
  end_rip_ = key_.rip + offset;
}

// No interrupt comes between STI and the instruction behind it, so both are in one block.
void Translator::leave_out_last_sti(u64& offset) {
  Item& last = items_[item_count_ - 1];
  const bool is_sti =
      last.classified.kind == Kind::kFlags && last.decoded.instruction.mnemonic == ZYDIS_MNEMONIC_STI;
  if (!is_sti) return;
  if (item_count_ == 1) {
    last.classified = {};
    return;
  }
  offset -= last.decoded.instruction.length;
  --item_count_;
}

Block Translator::translate(const Source& source, Assembler& assembler, u32 base) {
  assembler_ = &assembler;
  base_ = base;
  key_ = source.key;
  next_mode_ = key_.mode;
  detours_.clear();
  fault_places_.clear();
  relocations_.clear();
  // Nobody asks for the kernel's code at another address, but for who keeps it.
  is_copyable_ = (key_.mode == kUser || options_.keeps) && options_.links && options_.map == nullptr;
  const bool crosses = source.second_frame != Block::kNoFrame;
  decode(source.code, crosses ? 1 : options_.instructions);
  Block block{.key = key_, .bytes = narrow(static_cast<u32>(end_rip_ - key_.rip))};
  block.instructions = static_cast<u8>(item_count_);
  block.second_frame = source.second_frame;
  block.start = base;
  emit_head(block);
  if (crosses) emit_guard(block);
  if (options_.counts) charge();
  is_interpreted_ = false;
  bool is_open = true;
  for (unsigned i = 0; i < item_count_ && is_open;) {
    const unsigned run = stack_run(i);
    mark(items_[i].rip, false);
    if (run > 1) {
      is_open = emit_stack_run(items().subspan(i, run));
      i += run;
    } else {
      is_open = emit_item(items_[i++]);
    }
    block.executed = static_cast<u8>(i - (is_interpreted_ ? 1 : 0));
  }
  // A serializing instruction looks for attention, as another CPU may have changed what follows.
  const bool polls = items_[item_count_ - 1].classified.kind == Kind::kSerialize;
  if (is_open) mark(end_rip_, false);
  if (is_open) go_to(wrapped(end_rip_), polls ? end_rip_ : end_rip_ - 1);
  emit_detours();
  block.size = narrow(assembler_->position());
  block.is_copyable = is_copyable_ && !crosses;
  return block;
}

void Translator::set_address(Host to, u64 address) {
  if (key_.is_32bit) return set_address_low(to, address);
  assembler_->set(to, address);
  const Relocation::Kind kind = address_kind(address);
  relocate(kind, assembler_->position() - (kind == Relocation::Kind::kAddress ? 8 : 4));
}

void Translator::set_address_low(Host to, u64 address) {
  assembler_->set(to, address & 0xffffffff);
  relocate(Relocation::Kind::kAddressLow, assembler_->position() - 4);
}

// `place`: a position in the code memory, with flags above it.
void Translator::set_place(Host to, u64 place) {
  assembler_->set(to, place);
  const bool is_whole = Assembler::immediate_of(place) == Assembler::Immediate::kWhole;
  relocate(Relocation::Kind::kPlace, assembler_->position() - (is_whole ? 8 : 4));
}

void Translator::jump_out(const u8* thunk) {
  assembler_->jump_to(thunk);
  relocate(Relocation::Kind::kOutside, assembler_->position() - 4);
}

void Translator::call_out(const u8* thunk) {
  assembler_->call_to(thunk);
  relocate(Relocation::Kind::kOutside, assembler_->position() - 4);
}

// Where the block leaves when attention is wanted, or its vector registers are not there; both are near
// enough for JRCXZ.
void Translator::emit_head(Block& block) {
  unsigned vectors = 0;
  for (const Item& item : items()) {
    if (item.classified.vectors != Vectors::kNone) vectors |= 1u << static_cast<u8>(item.classified.vectors);
  }
  u32 load[kVectorKinds] = {};
  u32 back[kVectorKinds] = {};
  for (unsigned kind = 0; kind < kVectorKinds; ++kind) {
    if ((vectors >> kind & 1) == 0) continue;
    load[kind] = assembler_->position();
    set_address(kAddress, key_.rip);
    call_out(thunks_.load_vectors[kind]);
    back[kind] = assembler_->jump();
  }
  island_ = assembler_->position();
  set_address(kAddress, key_.rip);
  jump_out(thunks_.leave_to_look);
  entry_ = assembler_->position();
  assembler_->load(kTest, in_frame(offsetof(Frame, go)));
  assembler_->jump_if_zero_to(island_);
  block.island = narrow(island_);
  block.entry = narrow(entry_);
  block.direct = narrow(assembler_->position());
  for (unsigned kind = 0; kind < kVectorKinds; ++kind) {
    if ((vectors >> kind & 1) == 0) continue;
    assembler_->load(kTest, in_frame(offsetof(Frame, vectors) + kind * 8));
    assembler_->jump_if_zero_to(load[kind]);
    assembler_->bind(back[kind]);
  }
  // Room for the jump that replaces a dead block's beginning.
  if (vectors == 0) assembler_->bytes({0x0f, 0x1f, 0x44, 0x00, 0x00});
}

// Is the next page still the one that the instruction's last bytes came from?
void Translator::emit_guard(Block& block) {
  const bool is_kernel = key_.rip >> 63 != 0;
  assembler_->load(kTest, in_frame(is_kernel ? offsetof(Frame, kernel_epoch) : offsetof(Frame, user_epoch)));
  assembler_->lea(kTest, {.base = kTest, .displacement = -static_cast<i32>(kEpochBits)});
  block.guard = narrow(assembler_->position() - 4);
  const u32 is_current = assembler_->jump_if_zero();
  assembler_->jump_to(assembler_->at(island_));
  assembler_->bind_short(is_current);
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
    case Kind::kLoop:
      emit_loop(item);
      return true;
    case Kind::kJump:
      go_to(target_of(item), item.rip);
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
    case Kind::kLoadX87Control:
      emit_load_x87_control(item);
      return true;
    case Kind::kReadPid:
      emit_read_pid(item);
      return true;
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
  assembler_->load(kTest, budget);
  assembler_->lea(kTest, {.base = kTest, .displacement = -static_cast<i32>(item_count_)});
  assembler_->store(budget, kTest);
  assembler_->pext(kTest, kTest, in_frame(offsetof(Frame, sign_mask)));
  const u32 covered = assembler_->jump_if_zero();
  detours_.push_back({.aside = Aside::kBudget, .branch = assembler_->jump(), .rip = key_.rip});
  assembler_->bind_short(covered);
}

// Instructions of the block from the one at `rip` on.
unsigned Translator::left_from(u64 rip) const {
  const auto at = std::ranges::lower_bound(items(), rip, {}, &Item::rip);
  return static_cast<unsigned>(items().end() - at);
}

void Translator::give_back(u64 rip) {
  const auto left = static_cast<i32>(left_from(rip));
  const Memory budget = in_frame(offsetof(Frame, budget));
  assembler_->load(kTest, budget);
  assembler_->lea(kTest, {.base = kTest, .displacement = left});
  assembler_->store(budget, kTest);
}

void Translator::interpret_from(u64 rip) {
  is_interpreted_ = true;
  if (options_.counts) give_back(rip);
  set_address(kAddress, rip);
  jump_out(thunks_.leave_to_interpret);
}

void Translator::emit_detours() {
  for (const Detour& detour : detours_) {
    assembler_->bind(detour.branch);
    mark(detour.rip, true);
    switch (detour.aside) {
      case Aside::kMiss:
        assembler_->move(kAddress, detour.address);
        assembler_->set(kTest, detour.detail);
        call_out(thunks_.miss);
        assembler_->jump_to(assembler_->at(detour.retry));
        break;
      case Aside::kFind:
        assembler_->set(kTest, detour.detail);
        call_out(thunks_.find);
        assembler_->jump_to(assembler_->at(detour.retry));
        break;
      case Aside::kInterpret:
        interpret_from(detour.rip);
        break;
      case Aside::kLink:
        relocate(Relocation::Kind::kBranch, detour.branch, assembler_->position());
        set_place(kAddress, (base_ + detour.branch) | detour.link);
        assembler_->store(in_frame(offsetof(Frame, exit_link)), kAddress);
        set_address(kAddress, detour.rip);
        jump_out(thunks_.leave_to_look);
        break;
      case Aside::kLook:
        emit_look_for(detour.rip, key_.mode);
        break;
      case Aside::kBudget:
        give_back(key_.rip);
        set_address(kAddress, key_.rip);
        jump_out(thunks_.leave_for_budget);
        break;
    }
  }
  for (const Fault& fault : fault_places_) {
    faults_.add(fault.position + base_, position());
    relocate(Relocation::Kind::kFault, fault.position, assembler_->position());
    mark(fault.rip, true);
    interpret_from(fault.rip);
  }
}

}  // namespace doppel::jit
