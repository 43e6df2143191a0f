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
    go_to(last.next() + static_cast<u64>(last.decoded.operand(0).imm.value.s), last.rip);
    return false;
  }
  emit_pops(run);
  return run.back().classified.kind != Kind::kReturn;
}

// Everything is stored, or the interpreter begins with the first push.
void Translator::emit_pushes(std::span<const Item> run) {
  const auto bytes = static_cast<i32>(8 * run.size());
  assembler_->lea(kAddress, {.base = kGuestRsp, .displacement = -bytes});
  Memory place = emit_access(run.front(), kAddress, static_cast<unsigned>(bytes), true);
  place.displacement = bytes;
  for (const Item& item : run) {
    place.displacement -= 8;
    if (item.classified.kind == Kind::kCall) {
      store_return(item, place);
    } else {
      store_pushed(item, place);
    }
  }
  assembler_->move(kGuestRsp, kAddress);
}

void Translator::emit_pops(std::span<const Item> run) {
  const auto bytes = static_cast<i32>(8 * run.size());
  Memory place = emit_access(run.front(), kGuestRsp, static_cast<unsigned>(bytes), false);
  for (const Item& item : run) {
    if (item.classified.kind == Kind::kReturn) break;
    const unsigned guest = guest_number(item.decoded.operand(0).reg.value);
    const Host host = host_register(guest);
    if (host == kInFrame) {
      assembler_->load(kTest, place);
      store_guest(guest, kTest);
    } else {
      assembler_->load(host, place);
    }
    place.displacement += 8;
  }
  const Item& last = run.back();
  if (last.classified.kind == Kind::kReturn) assembler_->load(kAddress, place);
  assembler_->lea(kGuestRsp, {.base = kGuestRsp, .displacement = place.displacement});
  if (last.classified.kind == Kind::kReturn) emit_jump_from_return(last);
}

void Translator::store_pushed(const Item& item, const Memory& place) {
  const ZydisDecodedOperand& operand = item.decoded.operand(0);
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    assembler_->op(true, {0xc7}, 0, place);
    assembler_->word32(static_cast<u32>(operand.imm.value.s));
    return;
  }
  const unsigned guest = guest_number(operand.reg.value);
  Host host = host_register(guest);
  if (host == kInFrame) load_guest(host = kTest, guest);
  assembler_->store(place, host);
}

void Translator::store_return(const Item& item, const Memory& place) {
  if (is_sign_extended(item.next())) {
    assembler_->op(true, {0xc7}, 0, place);
    assembler_->word32(static_cast<u32>(item.next()));
    relocate(Relocation::Kind::kAddressSigned, assembler_->position() - 4);
  } else {
    set_address(kTest, item.next());
    assembler_->store(place, kTest);
  }
}

}  // namespace doppel::jit
