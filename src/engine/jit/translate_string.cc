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
  a_.move(kAddress, address);
  load_guest(kAddend, guest);
  if (!is_wide) a_.op(true, {0x63}, kAddend, kAddend);  // movsxd
  a_.set(kTest, is_wide ? 6 : 5);
  a_.vex({2, 2, 1, 0, 0xf7}, kAddend, kTest, kAddend);  // sarx
  a_.lea(kAddress, {.base = kAddress, .index = kAddend, .scale = static_cast<u8>(is_wide ? 3 : 2)});
  const bool is_write = decoded.instruction.mnemonic != ZYDIS_MNEMONIC_BT;
  const Memory place = emit_access(item, kAddress, memory.size / 8, is_write);
  load_guest(kTest, guest);
  a_.pext(kTest, kTest, in_frame(is_wide ? offsetof(Frame, index_mask_64) : offsetof(Frame, index_mask_32)));
  if ((decoded.instruction.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0) a_.byte(0xf0);
  a_.op(is_wide, {0x0f, decoded.instruction.opcode}, kTest, place);
}

// Leaves the host address in kAddend when [address, address + scratch[0]) lies on one page.
void Translator::emit_block_access(const Item& item, Host address, bool is_write) {
  Memory entry{.base = kFrameRegister,
               .index = kAddend,
               .scale = 3,
               .displacement = table_offset(key_.mode, is_write, false)};
  const u32 retry = a_.position();
  a_.pext(kAddend, address, in_frame(offsetof(Frame, tlb_mask)));
  a_.load(kTest, entry);
  a_.lea(kTest, {.base = address, .index = kTest});
  a_.load(kAddress, in_frame(offsetof(Frame, scratch)));
  a_.lea(kTest, {.base = kTest, .index = kAddress, .displacement = -1});
  a_.pext(kTest, kTest, in_frame(offsetof(Frame, page_mask)));
  const u32 hit = a_.jump_if_zero();
  const u32 miss = a_.jump();
  a_.bind_short(hit);
  // One byte is enough to ask for: a block that crosses is left to the interpreter when it still misses.
  detours_.push_back({.aside = Aside::kInterpret,
                      .branch = miss,
                      .retry = retry,
                      .rip = item.rip,
                      .access = describe_access(1, is_write, key_.mode),
                      .address = address});
  entry.displacement = table_offset(key_.mode, is_write, true);
  a_.load(kAddend, entry);
  a_.lea(kAddend, {.base = kAddend, .index = address});
}

// The host's own block operation on one page of each operand; anything else is for the interpreter, which
// goes page by page. Elements are counted in RCX when there is a prefix.
void Translator::emit_string(const Item& item) {
  const ZydisDecodedInstruction& instruction = item.decoded.instruction;
  const bool is_repeated =
      (instruction.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
  const bool moves = instruction.opcode == 0xa4 || instruction.opcode == 0xa5;
  const unsigned size = (instruction.opcode & 1) == 0 ? 1 : instruction.operand_width / 8;
  a_.load(kTest, in_frame(offsetof(Frame, other_flags)));
  a_.pext(kTest, kTest, in_frame(kDirection));
  require_zero(item);
  u32 skip = 0;
  if (is_repeated) {
    // Counts of more than a page are refused here, so that the product does not wrap.
    a_.pext(kTest, kGuestRcx, in_frame(offsetof(Frame, page_mask)));
    require_zero(item);
    a_.move(kTest, kGuestRcx);
    const u32 none = a_.jump_if_zero();
    const u32 some = a_.jump();
    a_.bind_short(none);
    skip = a_.jump();
    a_.bind(some);
    const u8 scale = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
    a_.set(kAddress, 0);
    a_.lea(kTest, {.base = kAddress, .index = kGuestRcx, .scale = scale});
  } else {
    a_.set(kTest, size);
  }
  a_.store(in_frame(offsetof(Frame, scratch)), kTest);
  if (moves) {
    emit_block_access(item, x86::kRsi, false);
    a_.store(in_frame(offsetof(Frame, scratch) + 8), kAddend);
  }
  emit_block_access(item, x86::kRdi, true);
  // kAddress holds the length. The guest's pointers move by it.
  a_.lea(x86::kRdi, {.base = x86::kRdi, .index = kAddress});
  a_.store(in_frame(offsetof(Frame, scratch) + 16), x86::kRdi);
  a_.move(x86::kRdi, kAddend);
  if (moves) {
    a_.lea(kAddend, {.base = x86::kRsi, .index = kAddress});
    a_.load(x86::kRsi, in_frame(offsetof(Frame, scratch) + 8));
  }
  if (is_repeated) {
    a_.move(kTest, kGuestRcx);
    a_.byte(0xf3);
  }
  if (size == 2) a_.byte(0x66);
  if (size == 8) a_.byte(0x48);
  a_.byte(instruction.opcode);
  if (moves) a_.move(x86::kRsi, kAddend);
  a_.load(x86::kRdi, in_frame(offsetof(Frame, scratch) + 16));
  if (is_repeated) {
    a_.set(kGuestRcx, 0);
    a_.bind(skip);
  }
}

}  // namespace doppel::jit
