// Initial states: roles of registers and values that fit them.
#include <cstring>

#include "tests/blocks/generator.h"
#include "tests/differential/coverage.h"
#include "x86/registers.h"

namespace doppel::blocks {

// Often the registers whose guest value is not in the host's register of that number.
void Generator::choose_roles() {
  static constexpr u8 kPreferred[] = {x86::kRcx, x86::kR12, x86::kR13, x86::kR14, x86::kR15};
  pointers_ = small_ = counters_ = 0;
  depth_ = loops_ = 0;
  auto choose = [&] {
    if (is_compat()) return static_cast<u8>(any_register());
    return random_->percent(40) ? random_->pick(kPreferred) : static_cast<u8>(any_register());
  };
  for (u64 i = 2 + random_->below(is_compat() ? 2 : 4); i != 0; --i) pointers_ |= 1u << choose();
  if (random_->percent(50)) pointers_ |= 1u << x86::kRsi | 1u << x86::kRdi;
  for (u64 i = 1 + random_->below(2); i != 0; --i) small_ |= 1u << choose();
  pointers_ &= ~kStackPointer;
  small_ &= ~(kStackPointer | pointers_);
  initial_pointers_ = pointers_;
  initial_small_ = small_;
}

// One of the wild ones or near it.
u64 Generator::wild_value() {
  const u64 value = options_.wild_addresses[random_->below(options_.wild_addresses.size())];
  return random_->percent(50) ? value : value + random_->below(128) - 64;
}

// Most in the middle, some where an access may cross or leave the window.
u64 Generator::pointer_value(unsigned reg) {
  if (!options_.wild_addresses.empty() && random_->percent(70)) return wild_value();
  if (reg == x86::kRsp) {
    if (random_->percent(70)) return kStackBase + 0xc00 + (random_->below(0x200) & ~u64{15});
    if (random_->percent(80)) return kStackBase + kPageSize + 0x40 - (random_->below(0x80) & ~u64{7});
    return kStackBase + kPageSize + random_->below(0x100);
  }
  const u64 choice = random_->below(100);
  const u64 near = random_->below(64);
  if (choice < 60) return kDataBase + 0x200 + (random_->below(kDataSize - 0x600) & ~u64{63});
  if (choice < 75) return kDataBase + 0x200 + random_->below(kDataSize - 0x600);
  if (choice < 89) return kDataBase + kPageSize - near;
  if (choice < 92) return kReadOnlyBase - near;
  if (choice < 95) return kReadOnlyBase + (random_->below(kReadOnlySize) & ~u64{63});
  if (choice < 97) return kDataEnd - near;
  return kDataBase + near;
}

void Generator::randomize_float(UserState& state) {
  FxsaveArea& fx = state.xsave.legacy;
  const u64 noise = random_->next();
  static constexpr Style kStyles[] = {Style::kInteger, Style::kF32, Style::kF64};
  random_->fill({fx.unused_xmm[0].data(), 256}, random_->pick(kStyles));
  random_->fill({state.xsave.ymm_high[0].data(), 256}, random_->pick(kStyles));
  if (random_->percent(20)) fx.mxcsr |= static_cast<u32>(noise & 0xe07f);
  if (random_->percent(5)) fx.mxcsr &= ~static_cast<u32>(noise >> 16 & 0x1f80);
  fx.fcw = random_->percent(70) ? 0x37f : static_cast<u16>((noise >> 32 & 0xf00) | 0x7f);
  fx.fsw = static_cast<u16>(noise >> 40 & 0x7f00);
  fx.ftw = random_->percent(50) ? 0xff : static_cast<u8>(noise >> 56);
  for (auto& st : fx.st) random_->x87(std::span<u8, 10>(st.data(), 10));
}

void Generator::make_start(Random& random, Start& out) {
  random_ = &random;
  UserState& state = out.state;
  state = UserState();
  for (unsigned reg = 0; reg < 16; ++reg) {
    if (((initial_pointers_ | kStackPointer) >> reg & 1) != 0)
      state.gpr[reg] = pointer_value(reg);
    else if ((initial_small_ >> reg & 1) != 0)
      state.gpr[reg] =
          options_.wild_addresses.empty() || random.percent(50) ? random.below(32) : wild_value();
    else
      state.gpr[reg] = random.integer();
    if (is_compat() && reg < registers()) state.gpr[reg] &= 0xffffffff;
  }
  state.rip = block_->start;
  state.rflags = (random.next() & x86::kArithmeticFlags) | x86::kFlagReserved1 | x86::kFlagIf;
  if (random.percent(6)) state.rflags |= x86::kFlagDf;
  state.fs_base = random.percent(90) ? random.below(64) & ~u64{15} : kDataBase + random.below(kDataSize);
  state.gs_base = kDataBase + (random.below(0x1000) & ~u64{15});
  randomize_float(state);
  random.fill({out.data.data(), 512}, Style::kInteger);
  random.fill({out.data.data() + 512, 512}, Style::kF32);
  for (u64 i = 1024; i < kDataSize; i += 8) {
    const u64 noise = random.next();
    std::memcpy(out.data.data() + i, &noise, 8);
  }
  out.stack.fill(static_cast<u8>(random.next()));
}

}  // namespace doppel::blocks
