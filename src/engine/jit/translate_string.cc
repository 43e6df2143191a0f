// Operands that reach beyond what their encoding says: bit strings, and MOVS and STOS with a count.
#include "engine/jit/translator.h"

namespace doppel::jit {
namespace {

constexpr u64 kDirection = offsetof(Frame, direction_mask);

}  // namespace

// BT, BTS, BTR, BTC: the bit number is a signed offset from the operand's address. SDM 2A "BT".
void Translator::emit_bit_string(const Item& item) {
  const Decoded& decoded = item.decoded;
  const ZydisDecodedOperand& memory = decoded.operand(0);
  const unsigned guest = guest_number(decoded.operand(1).reg.value);
  const bool is_wide = memory.size == 64;
  const Host address = emit_address(item, memory);
  assembler_->move(kAddress, address);
  load_guest(kAddend, guest);
  if (!is_wide) assembler_->op(true, {0x63}, kAddend, kAddend);  // movsxd
  assembler_->set(kTest, is_wide ? 6 : 5);
  assembler_->vex({2, 2, 1, 0, 0xf7}, kAddend, kTest, kAddend);  // sarx
  const bool is_whole = decoded.instruction.address_width == 64;
  assembler_->op(is_whole, {0x8d}, kAddress,
                 Memory{.base = kAddress, .index = kAddend, .scale = static_cast<u8>(is_wide ? 3 : 2)});
  const bool is_write = decoded.instruction.mnemonic != ZYDIS_MNEMONIC_BT;
  const Memory place = emit_access(item, kAddress, memory.size / 8, is_write);
  load_guest(kTest, guest);
  assembler_->pext(kTest, kTest,
                   in_frame(is_wide ? offsetof(Frame, index_mask_64) : offsetof(Frame, index_mask_32)));
  if ((decoded.instruction.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0) assembler_->byte(0xf0);
  assembler_->op(is_wide, {0x0f, decoded.instruction.opcode}, kTest, place);
}

// Leaves the host address in kAddend when [address, address + scratch[0]) lies on one page.
void Translator::emit_block_access(const Item& item, Host address, bool is_write) {
  Memory entry{.base = kFrameRegister,
               .index = kAddend,
               .scale = 3,
               .displacement = table_offset(key_.mode, is_write, false)};
  assembler_->pext(kAddend, address, in_frame(offsetof(Frame, tlb_mask)));
  assembler_->load(kTest, entry);
  assembler_->lea(kTest, {.base = address, .index = kTest});
  assembler_->load(kAddress, in_frame(offsetof(Frame, scratch)));
  assembler_->lea(kTest, {.base = kTest, .index = kAddress, .displacement = -1});
  assembler_->page_number(kTest, kTest);
  const u32 hit = assembler_->jump_if_zero();
  const u32 miss = assembler_->jump();
  assembler_->bind_short(hit);
  // The interpreter enters the page, and does what lies on more than one.
  detours_.push_back({.aside = Aside::kInterpret, .branch = miss, .rip = item.rip});
  entry.displacement = table_offset(key_.mode, is_write, true);
  assembler_->load(kAddend, entry);
  assembler_->lea(kAddend, {.base = kAddend, .index = address});
}

// The host's own block operation on one page of each operand; anything else is for the interpreter, which
// goes page by page. Elements are counted in RCX when there is a prefix.
void Translator::emit_string(const Item& item) {
  const ZydisDecodedInstruction& instruction = item.decoded.instruction;
  const bool is_repeated =
      (instruction.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
  const bool moves = instruction.opcode == 0xa4 || instruction.opcode == 0xa5;
  const unsigned size = (instruction.opcode & 1) == 0 ? 1 : instruction.operand_width / 8;
  assembler_->load(kTest, in_frame(offsetof(Frame, other_flags)));
  assembler_->pext(kTest, kTest, in_frame(kDirection));
  require_zero(item);
  u32 skip = 0;
  if (is_repeated) {
    // Counts of more than a page are refused here, so that the product does not wrap.
    assembler_->page_number(kTest, kGuestRcx);
    require_zero(item);
    assembler_->move(kTest, kGuestRcx);
    const u32 none = assembler_->jump_if_zero();
    const u32 some = assembler_->jump();
    assembler_->bind_short(none);
    skip = assembler_->jump();
    assembler_->bind(some);
    const u8 scale = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
    assembler_->set(kAddress, 0);
    assembler_->lea(kTest, {.base = kAddress, .index = kGuestRcx, .scale = scale});
  } else {
    assembler_->set(kTest, size);
  }
  assembler_->store(in_frame(offsetof(Frame, scratch)), kTest);
  if (moves) {
    emit_block_access(item, x86::kRsi, false);
    assembler_->store(in_frame(offsetof(Frame, scratch) + 8), kAddend);
  }
  emit_block_access(item, x86::kRdi, true);
  // kAddress holds the length. The guest's pointers move by it.
  lea_word(x86::kRdi, {.base = x86::kRdi, .index = kAddress});
  assembler_->store(in_frame(offsetof(Frame, scratch) + 16), x86::kRdi);
  assembler_->move(x86::kRdi, kAddend);
  if (moves) {
    lea_word(kAddend, {.base = x86::kRsi, .index = kAddress});
    assembler_->load(x86::kRsi, in_frame(offsetof(Frame, scratch) + 8));
  }
  if (is_repeated) {
    assembler_->move(kTest, kGuestRcx);
    assembler_->byte(0xf3);
  }
  if (size == 2) assembler_->byte(0x66);
  if (size == 8) assembler_->byte(0x48);
  assembler_->byte(instruction.opcode);
  if (moves) assembler_->move(x86::kRsi, kAddend);
  assembler_->load(x86::kRdi, in_frame(offsetof(Frame, scratch) + 16));
  if (is_repeated) {
    assembler_->set(kGuestRcx, 0);
    assembler_->bind(skip);
  }
}

}  // namespace doppel::jit
