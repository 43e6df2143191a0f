// Guest memory operands: their addresses, and the inlined look into the software TLB.
#include "base/verify.h"
#include "engine/jit/translator.h"

namespace doppel::jit {

void Translator::load_guest(Host to, unsigned guest) {
  const Host host = host_register(guest);
  if (host == kInFrame) {
    assembler_->load(to, guest_slot(guest));
  } else {
    assembler_->move(to, host);
  }
}

void Translator::store_guest(unsigned guest, Host from) {
  const Host host = host_register(guest);
  if (host == kInFrame) {
    assembler_->store(guest_slot(guest), from);
  } else {
    assembler_->move(host, from);
  }
}

// The effective address without segment. Uses kAddress and kAddend for registers that are in the frame.
void Translator::emit_lea_of(const Item& item, const ZydisDecodedOperand& operand, Host to, bool is_wide) {
  const auto& mem = operand.mem;
  const bool is_short = item.decoded.instruction.address_width == 32;
  if (mem.base == ZYDIS_REGISTER_RIP || mem.base == ZYDIS_REGISTER_EIP) {
    const u64 address = item.next() + static_cast<u64>(mem.disp.value);
    if (is_short || !is_wide)
      set_address_low(to, address);
    else
      set_address(to, address);
    return;
  }
  Memory address{.displacement = static_cast<i32>(mem.disp.value)};
  if (mem.base != ZYDIS_REGISTER_NONE) {
    address.base = host_register(guest_number(mem.base));
    if (address.base == kInFrame) load_guest(address.base = kAddress, guest_number(mem.base));
  }
  if (mem.index != ZYDIS_REGISTER_NONE) {
    address.index = host_register(guest_number(mem.index));
    if (address.index == kInFrame) load_guest(address.index = kAddend, guest_number(mem.index));
    while ((1u << address.scale) < mem.scale) ++address.scale;
  }
  if (address.base == Memory::kNone) {
    if (address.index == Memory::kNone) {
      const auto value = static_cast<u64>(mem.disp.value);
      assembler_->set(to, is_short || !is_wide ? value & 0xffffffff : value);
      return;
    }
    // Without a base the encoding has a 32-bit displacement and no more; scaled by 1 it is the base.
    if (address.scale == 0) {
      address.base = std::exchange(address.index, Memory::kNone);
    } else {
      assembler_->set(kAddress, 0);
      address.base = kAddress;
    }
  }
  assembler_->op(is_wide && !is_short, {0x8d}, to, address);
}

// 32-bit code: limits and types other than those of all data of 4 GiB are the interpreter's, and so is what
// reaches beyond. The offset is in kAddress.
void Translator::require_segment(const Item& item, const ZydisDecodedOperand& operand) {
  const bool is_fs = operand.mem.segment == ZYDIS_REGISTER_FS;
  require_zero(item, is_fs ? offsetof(Frame, fs_closed) : offsetof(Frame, gs_closed));
  if (is_absolute(operand)) return;
  assembler_->lea(kTest, {.base = kAddress, .displacement = operand.size / 8 - 1});
  assembler_->pext(kTest, kTest, in_frame(offsetof(Frame, upper_mask)));
  require_zero(item);
}

// The register with the linear address: kAddress, or the guest's own where nothing is to be computed.
Host Translator::emit_address(const Item& item, const ZydisDecodedOperand& operand) {
  const auto& mem = operand.mem;
  const bool has_segment = mem.segment == ZYDIS_REGISTER_FS || mem.segment == ZYDIS_REGISTER_GS;
  const bool is_plain_base = mem.base != ZYDIS_REGISTER_NONE && mem.base != ZYDIS_REGISTER_RIP &&
                             mem.base != ZYDIS_REGISTER_EIP && mem.index == ZYDIS_REGISTER_NONE &&
                             mem.disp.value == 0 &&
                             item.decoded.instruction.address_width == (is_64bit() ? 64 : 32);
  if (is_plain_base && !has_segment) {
    const Host host = host_register(guest_number(mem.base));
    if (host != kInFrame) return host;
  }
  emit_lea_of(item, operand, kAddress, true);
  if (has_segment) {
    if (!is_64bit()) require_segment(item, operand);
    assembler_->load(kTest, in_frame(mem.segment == ZYDIS_REGISTER_FS ? offsetof(Frame, fs_base)
                                                                      : offsetof(Frame, gs_base)));
    lea_word(kAddress, {.base = kAddress, .index = kTest});
  }
  return kAddress;
}

// Leaves flags alone: the difference to the tag is a page offset with room for the access,
// and its page number zero, exactly when the entry is right.
Memory Translator::emit_access(const Item& item, Host address, unsigned size, bool is_write) {
  const u32 retry = assembler_->position();
  assembler_->pext(kAddend, address, in_frame(offsetof(Frame, tlb_mask)));
  Memory entry{.base = kFrameRegister,
               .index = kAddend,
               .scale = 3,
               .displacement = table_offset(key_.mode, is_write, false)};
  assembler_->load(kTest, entry);
  assembler_->lea(kTest, {.base = address, .index = kTest, .displacement = static_cast<i32>(size - 1)});
  assembler_->page_number(kTest, kTest);
  const u32 hit = assembler_->jump_if_zero();
  const u32 miss = assembler_->jump();
  assembler_->bind_short(hit);
  const Detail detail{.size = size,
                      .is_write = is_write,
                      .mode = key_.mode,
                      .offset = static_cast<unsigned>(item.rip - key_.rip),
                      .left = left_from(item.rip)};
  detours_.push_back({.aside = Aside::kMiss,
                      .branch = miss,
                      .retry = retry,
                      .rip = item.rip,
                      .detail = detail.pack(),
                      .address = address});
  entry.displacement = table_offset(key_.mode, is_write, true);
  assembler_->load(kAddend, entry);
  return {.base = address, .index = kAddend};
}

Memory Translator::emit_operand(const Item& item, const ZydisDecodedOperand& operand) {
  const bool is_write = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  return emit_access(item, emit_address(item, operand), operand.size / 8, is_write);
}

}  // namespace doppel::jit
