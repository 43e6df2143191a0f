// Groups of instructions that belong together: the stack, calls, strings, division.
#include <utility>

#include "tests/blocks/generator.h"
#include "tests/differential/encoder.h"
#include "x86/registers.h"

namespace doppel::blocks {
namespace {

constexpr u32 kUnsafeFlags = x86::kFlagTf | x86::kFlagAc;

}  // namespace

// Returns how many bytes.
unsigned Generator::push() {
  begin_instruction();
  if (is_compat() && random_->percent(8)) {  // a segment register
    const auto segment = static_cast<unsigned>(random_->below(6));
    if (segment >= 4) emit({0x0f});
    emit({segment < 4 ? 0x06 | segment << 3 : 0x80 | segment << 3});
    return word();
  }
  const unsigned reg = any_register();
  switch (random_->below(8)) {
    case 0:
      emit({0x6a, static_cast<u8>(random_->next())});
      return word();
    case 1:
      emit({0x68});
      emit32(static_cast<u32>(random_->integer()));
      return word();
    case 2: {  // push [pointer + disp8]
      const unsigned base = pointer_register();
      if (base >= 8) emit({0x41});
      emit({0xff, 0x70 | (base & 7)});
      if ((base & 7) == 4) emit({0x24});
      emit({static_cast<u8>(random_->next())});
      return word();
    }
    case 3:
      emit({0x9c});
      return word();
    case 4:
      emit({0x66});
      [[fallthrough]];
    default:
      const bool is_short =
          block_->code[at_ - 1 - kCodeBase] == 0x66 && block_->instructions.back() == at_ - 1;
      if (reg >= 8) emit({0x41});
      emit({0x50 | (reg & 7)});
      return is_short ? 2 : word();
  }
}

void Generator::pop(unsigned width) {
  if (width == word() && random_->percent(20)) {
    unsigned base = pointer_register();
    if (base == x86::kRsp) base = x86::kRax;
    begin_instruction();
    if (base >= 8) emit({0x41});
    emit({0x8f, 0x40 | (base & 7)});
    if ((base & 7) == 4) emit({0x24});
    return emit({static_cast<u8>(random_->next())});
  }
  const unsigned reg = free_register();
  begin_instruction();
  if (width == 2) emit({0x66});
  if (reg >= 8) emit({0x41});
  emit({0x58 | (reg & 7)});
}

void Generator::push_and_pop() {
  const unsigned width = push();
  local_bytes_ += width;
  sequence(static_cast<unsigned>(random_->below(4)));
  local_bytes_ -= width;
  pop(width);
}

// PUSHA and POPA; between them no push may be written over: one may hold a counter.
void Generator::push_all() {
  const bool is_short = random_->percent(20);
  const u32 pointers = pointers_;
  const u32 small = small_;
  const u32 outer = std::exchange(local_bytes_, 0);
  begin_instruction();
  if (is_short) emit({0x66});
  emit({0x60});
  sequence(static_cast<unsigned>(random_->below(5)));
  begin_instruction();
  if (is_short) emit({0x66});
  emit({0x61});
  local_bytes_ = outer;
  pointers_ = is_short ? pointers_ & pointers : pointers;
  small_ = is_short ? small_ & small : small;
}

void Generator::stack_frame() {
  const u32 size = static_cast<u32>(random_->below(12)) * 8;
  const u32 outer = std::exchange(local_bytes_, size);
  const u64 kind = random_->below(3);
  const bool has_base = kind != 0 && !is_protected(x86::kRbp);
  begin_instruction();
  if (!has_base) {  // lea rsp, [rsp - size]
    emit_rex_w();
    emit({0x8d, 0xa4, 0x24});
    emit32(~size + 1);
    sequence(static_cast<unsigned>(random_->below(5)));
    begin_instruction();
    const bool is_add = random_->percent(50);
    emit_rex_w();
    if (is_add) {  // add rsp, size
      emit({0x81, 0xc4});
      emit32(size);
    } else {
      emit({0x8d, 0x64, 0x24, size});
    }
    local_bytes_ = outer;
    return;
  }
  const u32 pointers = pointers_;
  const u32 counters = counters_;
  if (kind == 1) {
    emit({0xc8, size, 0, 0});  // enter
  } else {
    emit({0x55});  // push rbp
    begin_instruction();
    emit_wide(0x89, x86::kRsp, x86::kRbp);
    begin_instruction();
    emit_rex_w();
    emit({0x83, 0xec, size});  // sub rsp, size
  }
  lose(x86::kRbp);
  counters_ |= 1u << x86::kRbp;
  sequence(static_cast<unsigned>(random_->below(5)));
  counters_ = counters;
  pointers_ |= pointers & 1u << x86::kRbp;
  begin_instruction();
  emit({0xc9});
  local_bytes_ = outer;
}

// To a function before or behind; directly, through a register or through memory.
void Generator::call(u64 function) {
  const u64 kind = random_->below(4);
  if (kind >= 2) {
    begin_instruction();
    emit({0xe8});
    return emit32(static_cast<u32>(function - (at_ + 4)));
  }
  const unsigned reg = free_register();
  patch(load_address(reg), function);
  if (kind == 1) {  // mov [rsp - 64], reg; call [rsp - 64]
    begin_instruction();
    emit_rex_w(reg);
    emit({0x89, 0x44 | (reg & 7) << 3, 0x24, 0xc0});
    begin_instruction();
    return emit({0xff, 0x54, 0x24, 0xc0});
  }
  begin_instruction();
  if (reg >= 8) emit({0x41});
  emit({0xff, 0xd0 | (reg & 7)});
}

void Generator::function_call() {
  begin_instruction();
  emit({0xe9});
  const Pending over{.displacement = at_, .size = 4, .items = 0};
  emit32(0);
  const u64 function = at_;
  const u32 outer = std::exchange(local_bytes_, 0);
  sequence(static_cast<unsigned>(random_->below(5)));
  local_bytes_ = outer;
  begin_instruction();
  const unsigned popped = random_->percent(25) ? static_cast<unsigned>(random_->below(5)) * 8 : 0;
  if (popped != 0) {
    emit({0xc2, popped, 0});
  } else {
    emit({0xc3});
  }
  patch(over, at_);
  for (u64 calls = 1 + random_->below(2); calls != 0; --calls) {
    if (popped != 0) {
      begin_instruction();
      emit_rex_w();
      emit({0x8d, 0x64, 0x24, 256 - popped});
    }
    call(function);
  }
}

void Generator::indirect_jump() {
  const unsigned reg = free_register();
  const Pending target = load_address(reg);
  begin_instruction();
  switch (random_->below(3)) {
    case 0:
      if (reg >= 8) emit({0x41});
      emit({0xff, 0xe0 | (reg & 7)});
      break;
    case 1:  // push reg; ret
      if (reg >= 8) emit({0x41});
      emit({0x50 | (reg & 7)});
      begin_instruction();
      emit({0xc3});
      break;
    default:
      emit_rex_w(reg);
      emit({0x89, 0x44 | (reg & 7) << 3, 0x24, 0xb8});
      begin_instruction();
      emit({0xff, 0x64, 0x24, 0xb8});
      break;
  }
  for (u64 junk = random_->below(4); junk != 0; --junk) emit({kInt3});
  patch(target, at_);
}

void Generator::string_instruction() {
  static constexpr u8 kOpcodes[] = {0xa4, 0xa5, 0xaa, 0xab, 0xa6, 0xa7, 0xac, 0xad, 0xae, 0xaf};
  static constexpr u8 kSegments[] = {0x26, 0x2e, 0x36, 0x3e, 0x64};
  if (is_protected(x86::kRsi) || is_protected(x86::kRdi) || is_protected(x86::kRax)) return;
  for (const unsigned reg : {6u, 7u}) {
    if ((pointers_ >> reg & 1) != 0 || random_->percent(10)) continue;
    patch(load_address(reg), kDataBase + 0x200 + random_->below(kDataSize - 0x400));
    pointers_ |= 1u << reg;
    small_ &= ~(1u << reg);
  }
  const bool is_repeated = random_->percent(60) && !is_protected(x86::kRcx);
  if (is_repeated) {
    const u64 choice = random_->below(100);
    const u64 count = choice < 90   ? random_->below(40)
                      : choice < 97 ? random_->below(1500)
                                    : random_->integer();
    load_immediate(x86::kRcx, static_cast<u32>(count));
    lose(x86::kRcx);
  }
  const bool is_backward = random_->percent(15);
  if (is_backward) {
    begin_instruction();
    emit({0xfd});
  }
  begin_instruction();
  if (is_compat() && random_->percent(10)) emit({random_->pick(kSegments)});
  if (is_compat() && random_->percent(2)) emit({kShortAddress});  // faults, but for a count of nothing
  if (is_repeated) emit({random_->percent(70) ? 0xf3u : 0xf2u});
  const u8 opcode = random_->pick(kOpcodes);
  if (random_->percent(15)) emit({0x66});
  if (random_->percent(30)) emit_rex_w();
  emit({opcode});
  if (opcode == 0xac || opcode == 0xad) lose(x86::kRax);
  if (is_backward && random_->percent(85)) {
    begin_instruction();
    emit({0xfc});
  }
}

// POPF of something without TF and AC; with LAHF and SAHF now and then.
void Generator::flags_image() {
  begin_instruction();
  if (random_->percent(50)) {
    emit({0x68});
    emit32(static_cast<u32>(random_->next()) & 0x7fff & ~kUnsafeFlags);
  } else {
    emit({0x9c});
    begin_instruction();
    emit({0x81, random_->percent(50) ? 0x34u : 0x24u, 0x24});  // xor or and
    const bool is_xor = block_->code[at_ - 2 - kCodeBase] == 0x34;
    emit32(is_xor ? x86::kArithmeticFlags & static_cast<u32>(random_->next()) : ~kUnsafeFlags);
  }
  begin_instruction();
  emit({0x9d});
  if (random_->percent(85)) {
    begin_instruction();
    emit({0xfc});  // cld
  }
}

void Generator::division() {
  if (is_protected(x86::kRax) || is_protected(x86::kRdx)) return;
  load_immediate(x86::kRdx, 0);
  lose(x86::kRdx);
  lose(x86::kRax);
  const unsigned divisor = free_register();
  begin_instruction();
  emit_wide(0x83, 1, divisor);  // or divisor, 1
  emit({1});
  begin_instruction();
  emit_wide(0xf7, random_->percent(60) ? 6 : 7, divisor);
}

// Transfers to nowhere, and stacks that are none. Nothing depends on RSP any more.
void Generator::wild_end() {
  const auto reg = static_cast<unsigned>(random_->below(8));
  begin_instruction();
  switch (random_->below(8)) {
    case 0:
      return emit({0xff, 0xe0 | reg});  // jmp
    case 1:
      return emit({0xff, 0xd0 | reg});  // call
    case 2:
      return emit({0xc3});
    case 3:
      emit_wide(0x89, reg, x86::kRsp);
      break;
    case 4:
      emit({0x5c});  // pop rsp
      break;
    case 5:
      emit_wide(0x87, reg, x86::kRsp);
      break;
    case 6:
      emit({0xc9});
      break;
    default:
      emit({0xc8, static_cast<u8>(random_->next()), 0, static_cast<unsigned>(random_->below(4))});
      break;
  }
  for (u64 more = random_->below(4); more != 0; --more) {
    if (random_->percent(50)) {
      push();
    } else {
      pop(word());
    }
  }
}

}  // namespace doppel::blocks
