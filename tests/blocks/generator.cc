// Structure of blocks: sequences, forward branches, loops.
#include "tests/blocks/generator.h"

#include <cstring>

#include "tests/differential/encoder.h"
#include "x86/registers.h"

namespace doppel::blocks {

void Generator::emit(std::initializer_list<unsigned> bytes) {
  for (const unsigned byte : bytes) block_->code[at_++ - kCodeBase] = static_cast<u8>(byte);
}

void Generator::emit32(u32 value) {
  std::memcpy(block_->code.data() + (at_ - kCodeBase), &value, 4);
  at_ += 4;
}

void Generator::emit_wide(unsigned opcode, unsigned reg, unsigned rm) {
  emit_rex_w(reg, rm);
  emit({opcode, 0xc0 | (reg & 7) << 3 | (rm & 7)});
}

void Generator::emit_rex_w(unsigned reg, unsigned rm) {
  if (!is_compat()) emit({0x48 | (reg >> 3) << 2 | rm >> 3});
}

void Generator::load_immediate(unsigned reg, u32 value) {
  begin_instruction();
  if (reg >= 8) emit({0x41});
  emit({0xb8 | (reg & 7)});
  emit32(value);
}

// LEA with an address relative to RIP; 32-bit code has immediates.
Generator::Pending Generator::load_address(unsigned reg) {
  begin_instruction();
  if (is_compat()) {
    emit({0xb8 | reg});
  } else {
    emit_rex_w(reg);
    emit({0x8d, (reg & 7) << 3 | 5});
  }
  const Pending place{.displacement = at_, .size = 4, .items = 0, .is_absolute = is_compat()};
  emit32(0);
  return place;
}

// In 32-bit code often in one byte.
void Generator::decrement(unsigned reg) {
  if (is_compat() && random_->percent(60)) return emit({0x48 | reg});
  emit_wide(0xff, 1, reg);
}

// One that may be overwritten, rather not a pointer.
unsigned Generator::free_register() {
  for (unsigned attempt = 0;; ++attempt) {
    const unsigned reg = any_register();
    if (is_protected(reg) || (attempt < 20 && (pointers_ >> reg & 1) != 0)) continue;
    lose(reg);
    return reg;
  }
}

void Generator::patch(const Pending& branch, u64 target) {
  const u64 from = branch.is_absolute ? 0 : branch.displacement + branch.size;
  const auto distance = static_cast<i64>(target - from);
  u8* place = block_->code.data() + (branch.displacement - kCodeBase);
  if (branch.size == 1) {
    *place = static_cast<u8>(distance <= 127 ? distance : 0);
  } else {
    const auto wide = static_cast<i32>(distance);
    std::memcpy(place, &wide, 4);
  }
}

void Generator::resolve(std::vector<Pending>& pending, bool all) {
  std::erase_if(pending, [&](Pending& branch) {
    if (!all && --branch.items != 0) return false;
    patch(branch, at_);
    return true;
  });
}

void Generator::forward_branch(std::vector<Pending>& pending) {
  const auto items = static_cast<unsigned>(1 + random_->below(4));
  const auto condition = static_cast<unsigned>(random_->below(16));
  begin_instruction();
  const u64 kind = random_->below(20);
  if (is_compat() && kind < 2 && random_->percent(20)) emit({kShortAddress});  // CX for ECX
  if (kind == 0) {
    emit({0xe3});  // jrcxz
  } else if (kind == 1 && !is_protected(x86::kRcx)) {
    lose(x86::kRcx);
    emit({0xe0 | static_cast<unsigned>(random_->below(3))});  // loopne, loope, loop
  } else if (kind == 2) {
    emit({0xeb});
  } else if (kind < 12) {
    emit({0x70 | condition});
  } else {
    if (kind == 12) {
      emit({0xe9});
    } else {
      emit({0x0f, 0x80 | condition});
    }
    pending.push_back({.displacement = at_, .size = 4, .items = items + 1});
    emit32(0);
    return;
  }
  pending.push_back({.displacement = at_, .size = 1, .items = items + 1});
  emit({0});
}

void Generator::sequence(unsigned items) {
  ++depth_;
  std::vector<Pending> pending;
  for (unsigned i = 0; i < items && left_ > 0 && has_room(); ++i) {
    if (random_->percent(12)) {
      forward_branch(pending);
    } else {
      item();
    }
    resolve(pending, false);
  }
  resolve(pending, true);
  --depth_;
}

void Generator::item() {
  const u64 choice = random_->below(100);
  const bool may_nest = depth_ < 4;
  if (choice < 5 && may_nest && loops_ < 2) return loop();
  if (choice < 10 && may_nest) return push_and_pop();
  if (choice < 13 && may_nest) return function_call();
  if (choice < 15 && may_nest) return stack_frame();
  if (choice < 17) return indirect_jump();
  if (choice < 21) return string_instruction();
  if (choice < 23) return flags_image();
  if (choice < 24) return division();
  if (choice < 26 && is_compat() && may_nest) return push_all();
  if (options_.reads_time && choice < 34 && !is_protected(x86::kRax) && !is_protected(x86::kRdx)) {
    begin_instruction();
    emit({0x0f, 0x31});
    lose(x86::kRax);
    return lose(x86::kRdx);
  }
  for (int attempt = 0; attempt < 20; ++attempt) {
    if (form_instruction(forms_.pick(*random_))) return;
  }
}

// Backwards, in the short form when it reaches.
void Generator::branch_back(unsigned condition, u64 target) {
  begin_instruction();
  const auto distance = static_cast<i64>(target - (at_ + 2));
  if (distance >= -128 && random_->percent(80)) {
    emit({0x70 | condition, static_cast<u8>(distance)});
    return;
  }
  emit({0x0f, 0x80 | condition});
  emit32(static_cast<u32>(target - (at_ + 4)));
}

void Generator::loop() {
  const unsigned counter = free_register();
  load_immediate(counter, static_cast<u32>(1 + random_->below(5)));
  counters_ |= 1u << counter;
  ++loops_;
  const u64 body = at_;
  sequence(static_cast<unsigned>(1 + random_->below(8)));
  end_of_loop(counter, body);
  --loops_;
  counters_ &= ~(1u << counter);
  small_ |= 1u << counter;
}

void Generator::end_of_loop(unsigned counter, u64 body) {
  constexpr unsigned kNotZero = 5;
  constexpr unsigned kNotSign = 9;
  const auto distance = static_cast<i64>(body - (at_ + 2));
  const u64 kind = random_->below(4);
  if (kind == 0 && counter == x86::kRcx && distance >= -128) {
    begin_instruction();
    return emit({0xe2, static_cast<u8>(distance)});
  }
  begin_instruction();
  if (kind == 1) {  // sub counter, 1
    emit_wide(0x83, 5, counter);
    emit({1});
  } else if (kind == 2) {  // dec counter: jumps one time less
    decrement(counter);
    begin_instruction();
    emit_wide(0x83, 7, counter);  // cmp counter, 1
    emit({1});
    return branch_back(kNotSign, body);
  } else {
    decrement(counter);
  }
  branch_back(kNotZero, body);
}

void Generator::make_block(const BlockOptions& options, Random& random, Block& out) {
  random_ = &random;
  options_ = options;
  block_ = &out;
  out.code.fill(kInt3);
  out.instructions.clear();
  out.reads_time = options.reads_time;
  out.is_compat = is_compat();
  choose_roles();
  local_bytes_ = 0x40;
  left_ = static_cast<unsigned>(1 + random.below(options.instructions));
  // Often so that it crosses into the second page.
  const u64 page_end = kCodeBase + kPageSize;
  at_ = random.percent(30) ? page_end - random.below(200) : kCodeBase + 0x100 + random.below(0x1400);
  limit_ = kCodeBase + kCodeSize - 0x200;
  out.start = at_;
  sequence(left_);
  if (random.percent(10)) wild_end();
  out.end = at_;
  emit({kHlt});
}

}  // namespace doppel::blocks
