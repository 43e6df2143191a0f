// Pushes in a row, and pops with the return behind them: one look into the TLB for all.
#include "engine/jit/translator.h"

namespace doppel::jit {
namespace {

constexpr unsigned kLongestRun = 16;  // so that Detail::size can say what it needs

bool is_sign_extended(u64 value) {
  return static_cast<u64>(static_cast<i64>(static_cast<i32>(value))) == value;
}

bool names_rsp(const Decoded& decoded) {
  const ZydisDecodedOperand& operand = decoded.operand(0);
  return operand.type == ZYDIS_OPERAND_TYPE_REGISTER && guest_number(operand.reg.value) == x86::kRsp;
}

}  // namespace

// How many instructions from `first` on are of one kind: pushes of registers and immediates with a call
// behind them, or pops into registers with a return behind them.
unsigned Translator::stack_run(unsigned first) const {
  const Kind kind = items_[first].classified.kind;
  if (kind != Kind::kPush && kind != Kind::kPop) return 1;
  const Kind last = kind == Kind::kPush ? Kind::kCall : Kind::kReturn;
  unsigned end = first;
  while (end < item_count_ && end - first < kLongestRun && items_[end].classified.kind == kind &&
         !names_rsp(items_[end].decoded) &&
         items_[end].decoded.operand(0).type != ZYDIS_OPERAND_TYPE_MEMORY) {
    ++end;
  }
  if (end != first && end < item_count_ && items_[end].classified.kind == last) ++end;
  return end - first;
}

bool Translator::emit_stack_run(std::span<const Item> run) {
  if (run.front().classified.kind == Kind::kPush) {
    emit_pushes(run);
    const Item& last = run.back();
    if (last.classified.kind != Kind::kCall) return true;
    go_to(target_of(last), last.rip);
    return false;
  }
  emit_pops(run);
  return run.back().classified.kind != Kind::kReturn;
}

// Everything is stored, or the interpreter begins with the first push.
void Translator::emit_pushes(std::span<const Item> run) {
  const auto step = static_cast<i32>(word());
  const i32 bytes = step * static_cast<i32>(run.size());
  lea_word(kAddress, {.base = kGuestRsp, .displacement = -bytes});
  Memory place = emit_access(run.front(), kAddress, static_cast<unsigned>(bytes), true);
  place.displacement = bytes;
  for (const Item& item : run) {
    place.displacement -= step;
    if (item.classified.kind == Kind::kCall) {
      store_return(item, place);
    } else {
      store_pushed(item, place);
    }
  }
  assembler_->move(kGuestRsp, kAddress);
}

void Translator::emit_pops(std::span<const Item> run) {
  const unsigned bytes = word() * static_cast<unsigned>(run.size());
  Memory place = emit_access(run.front(), kGuestRsp, bytes, false);
  for (const Item& item : run) {
    if (item.classified.kind == Kind::kReturn) break;
    load_popped(guest_number(item.decoded.operand(0).reg.value), place);
    place.displacement += static_cast<i32>(word());
  }
  const Item& last = run.back();
  if (last.classified.kind == Kind::kReturn) load_word(kAddress, place);
  lea_word(kGuestRsp, {.base = kGuestRsp, .displacement = place.displacement});
  if (last.classified.kind == Kind::kReturn) emit_jump_from_return(last);
}

void Translator::load_popped(unsigned guest, const Memory& place) {
  const Host host = host_register(guest);
  if (host != kInFrame) return load_word(host, place);
  load_word(kTest, place);
  store_guest(guest, kTest);
}

void Translator::store_pushed(const Item& item, const Memory& place) {
  const ZydisDecodedOperand& operand = item.decoded.operand(0);
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    assembler_->op(is_64bit(), {0xc7}, 0, place);
    assembler_->word32(static_cast<u32>(operand.imm.value.s));
    return;
  }
  const unsigned guest = guest_number(operand.reg.value);
  Host host = host_register(guest);
  if (host == kInFrame) load_guest(host = kTest, guest);
  store_word(place, host);
}

void Translator::store_return(const Item& item, const Memory& place) {
  if (key_.is_32bit || is_sign_extended(item.next())) {
    assembler_->op(is_64bit(), {0xc7}, 0, place);
    assembler_->word32(static_cast<u32>(item.next()));
    relocate(key_.is_32bit ? Relocation::Kind::kAddressLow : Relocation::Kind::kAddressSigned,
             assembler_->position() - 4);
  } else {
    set_address(kTest, item.next());
    assembler_->store(place, kTest);
  }
}

}  // namespace doppel::jit
