// A copied block is what translation would have made there: compared for the code of this very program.
#include "engine/jit/relocation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "engine/jit/translator.h"

extern "C" const char etext;

namespace doppel::jit {
namespace {

constexpr u32 kFirst = 256;  // behind the thunks
constexpr u32 kSecond = 100'001;

// A code memory that is never executed.
class Workshop {
 public:
  explicit Workshop(const TranslationOptions& options) : options_(options) {
    for (const u8** thunk : {&thunks_.leave_to_look, &thunks_.leave_to_interpret, &thunks_.leave_for_budget,
                             &thunks_.miss, &thunks_.find, &thunks_.tsc, &thunks_.far_user,
                             &thunks_.load_vectors[0], &thunks_.load_vectors[1], &thunks_.load_vectors[2]}) {
      *thunk = memory_.data() + next_thunk_++;
    }
  }

  Block translate(const Translator::Source& source, u32 position) {
    Assembler assembler(std::span(memory_).subspan(position), memory_.data() + position);
    return translator_.translate(source, assembler, position);
  }
  std::span<const Relocation> relocations() const { return translator_.relocations(); }
  // As BranchPatcher::link() does, with nonsense.
  void link_all(const Block& block) {
    for (const Relocation& relocation : relocations()) {
      if (relocation.kind != Relocation::Kind::kBranch && relocation.kind != Relocation::Kind::kEpoch)
        continue;
      std::memset(memory_.data() + block.start + relocation.at, 0x5a, 4);
    }
  }
  std::span<u8> code(u32 from, u32 to) { return std::span(memory_).subspan(from, to - from); }
  u8* at(u32 position) { return memory_.data() + position; }

 private:
  TranslationOptions options_;
  std::vector<u8> memory_ = std::vector<u8>(200'000);
  unsigned next_thunk_ = 0;
  Thunks thunks_;
  FaultSites faults_{nullptr, 0};
  Translator translator_{{.thunks = thunks_, .faults = faults_, .options = options_}};
};

void expect_same(const Block& a, const Block& b) {
  EXPECT_EQ(a.key, b.key);
  EXPECT_EQ(a.start, b.start);
  EXPECT_EQ(a.entry, b.entry);
  EXPECT_EQ(a.direct, b.direct);
  EXPECT_EQ(a.island, b.island);
  EXPECT_EQ(a.size, b.size);
  EXPECT_EQ(a.bytes, b.bytes);
  EXPECT_EQ(a.instructions, b.instructions);
  EXPECT_EQ(a.executed, b.executed);
}

struct Addresses {
  u64 from;
  u64 to;
  bool fit;  // an address of the one has the form of the other's
  bool is_32bit = false;
};

// How many blocks were compared.
unsigned compare_all(const Addresses& addresses, bool counts) {
  Workshop shop({.features = x86::host_features(), .counts = counts});
  constexpr std::size_t kBytes = 400'000;
  const std::span text(reinterpret_cast<const u8*>(&etext) - kBytes, kBytes);
  unsigned compared = 0;
  for (u64 offset = 0; offset + kPageSize <= text.size();) {
    const u64 room = kPageSize - offset % kPageSize;
    const Translator::Source source{
        .key = {addresses.from + offset, 0x10000 + offset, kUser, addresses.is_32bit},
        .code = text.subspan(offset, room)};
    const Block block = shop.translate(source, kFirst);
    offset += std::max<u64>(block.bytes, 1);
    EXPECT_TRUE(block.is_copyable);
    shop.link_all(block);
    const u64 rip = addresses.to + block.key.rip - addresses.from;
    const std::optional<Block> copy =
        copy_block(block, shop.relocations(), shop.at(block.start), shop.at(kSecond), rip, kSecond);
    EXPECT_EQ(copy.has_value(), addresses.fit);
    if (!copy) break;
    const std::vector<u8> copied(shop.code(copy->start, copy->end()).begin(),
                                 shop.code(copy->start, copy->end()).end());
    Translator::Source other = source;
    other.key.rip = rip;
    const Block fresh = shop.translate(other, kSecond);
    expect_same(*copy, fresh);
    EXPECT_TRUE(std::ranges::equal(copied, shop.code(fresh.start, fresh.end())))
        << "block at " << block.key.rip - addresses.from << " of this program's code";
    if (testing::Test::HasFailure()) break;
    ++compared;
  }
  return compared;
}

TEST(Relocation, ACopyForAnotherRandomAddressIsWhatTranslationMakes) {
  EXPECT_GT(compare_all({0x5555'5540'0000, 0x7fff'f7c3'5000, true}, false), 1000u);
}

TEST(Relocation, TheSameWithCountedInstructions) {
  EXPECT_GT(compare_all({0x7f12'3456'7000, 0x5555'0000'1000, true}, true), 1000u);
}

// As such this program's code is nonsense, but code. Branches behind 4 GiB wrap.
TEST(Relocation, TheSameWith32BitCode) {
  EXPECT_GT(compare_all({0x40'0000, 0xf7c3'5000, true, true}, false), 1000u);
  EXPECT_GT(compare_all({0xfff9'e000, 0x1000, true, true}, true), 1000u);
}

TEST(Relocation, AddressesOfOtherLengthsAreNotCopied) {
  EXPECT_EQ(compare_all({0x40'0000, 0x7fff'f7c3'5000, false}, false), 0u);
  EXPECT_EQ(compare_all({0x7fff'f7c3'5000, 0x40'0000, false}, false), 0u);
}

TEST(Relocation, KernelCodeIsCopyableForWhoKeepsItAndInstructionsOnTwoPagesNever) {
  Workshop shop({.features = x86::host_features()});
  Workshop keeper({.features = x86::host_features(), .keeps = true});
  const u8 code[] = {0x90, 0xc3};
  EXPECT_TRUE(
      keeper.translate({.key = {0xffffffff81000000, 0x1000, kSupervisor}, .code = code}, kFirst).is_copyable);
  EXPECT_FALSE(
      shop.translate({.key = {0xffffffff81000000, 0x1000, kSupervisor}, .code = code}, kFirst).is_copyable);
  EXPECT_FALSE(shop.translate({.key = {0x400fff, 0x1fff, kUser}, .code = code, .second_frame = 7}, kFirst)
                   .is_copyable);
  EXPECT_TRUE(shop.translate({.key = {0x400ffe, 0x1ffe, kUser}, .code = code}, kFirst).is_copyable);
}

}  // namespace
}  // namespace doppel::jit
