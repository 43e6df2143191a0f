// What must hold of translated code whatever the guest does: isolation, protection of code memory, code that
// changes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "tests/blocks/generator.h"
#include "tests/blocks/judge.h"

namespace doppel::blocks {
namespace {

using testing::IsEmpty;

constexpr Way kAllWays[] = {Way::kInterpreter, Way::kTranslator, Way::kSingle, Way::kUnlinked,
                            Way::kCounted,     Way::kFlush,      Way::kStops,  Way::kInterrupts};

// One for all tests of the process, as the native side has fixed addresses.
Judge& judge() {
  static std::unique_ptr<Judge> one = *Judge::create();
  return *one;
}

Block block_of(u64 start, std::initializer_list<std::initializer_list<unsigned>> instructions) {
  Block block;
  block.code.fill(kInt3);
  block.start = start;
  u64 at = start;
  for (const auto& instruction : instructions) {
    block.instructions.push_back(at);
    for (const unsigned byte : instruction) block.code[at++ - kCodeBase] = static_cast<u8>(byte);
  }
  block.end = at;
  block.code[at - kCodeBase] = kHlt;
  return block;
}

Block compat_block_of(u64 start, std::initializer_list<std::initializer_list<unsigned>> instructions) {
  Block block = block_of(start, instructions);
  block.is_compat = true;
  return block;
}

// RAX at the end, when all ways agree; and what does not, in `complaints`.
u64 result_of(const Block& block, std::vector<std::string>& complaints) {
  auto start = std::make_unique<Start>();
  *start = {};
  start->state.rip = block.start;
  start->state.rflags = x86::kFlagReserved1 | x86::kFlagIf;
  start->state.gpr[x86::kRsp] = kStackBase + 0x800;
  judge().place(block);
  if (!judge().start(*start, 1)) complaints.push_back("does not end");
  for (int round = 0; round < 2; ++round) {
    for (const Way way : kAllWays) {
      for (const std::string& line : judge().judge(way)) complaints.push_back(name_of(way) + (": " + line));
    }
  }
  return judge().expected().outcome.state.gpr[x86::kRax];
}

// --- Code that changes. SDM 3A 11.6, 8.1.3.

TEST(ChangingCode, NextInstructionOfTheSameBlock) {
  // mov byte [rip + 1], 7; mov eax, 1
  const Block block = block_of(kCodeBase + 0x100, {{0xc6, 0x05, 1, 0, 0, 0, 7}, {0xb8, 1, 0, 0, 0}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 7u);
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(ChangingCode, LoopThatChangesItsBody) {
  // xor eax, eax; mov ecx, 4; again: add eax, 1; inc byte [rip - 7] (the immediate); dec ecx; jnz again
  const Block block = block_of(kCodeBase + 0x100, {{0x31, 0xc0},
                                                   {0xb9, 4, 0, 0, 0},
                                                   {0x83, 0xc0, 1},
                                                   {0xfe, 0x05, 0xf9, 0xff, 0xff, 0xff},
                                                   {0xff, 0xc9},
                                                   {0x75, 0xf3}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 1u + 2 + 3 + 4);
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(ChangingCode, InstructionAcrossTwoPagesChangesOnTheSecond) {
  // mov byte [rip + 4], 9; mov eax, 1 with its last two bytes on the next page; the byte before the last
  // changes
  const Block block = block_of(kCodeBase + kPageSize - 10, {{0xc6, 0x05, 3, 0, 0, 0, 9}, {0xb8, 1, 0, 0, 0}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 0x90001u);
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(ChangingCode, FunctionOnAnotherPageChangesBetweenCalls) {
  // jmp over; the function: mov eax, 1; ret; over: call; mov rbx, rax; mov byte [function + 1], 5; call
  const u64 start = kCodeBase + kPageSize - 11;
  const Block block = block_of(start, {{0xe9, 6, 0, 0, 0},
                                       {0xb8, 1, 0, 0, 0},
                                       {0xc3},
                                       {0xe8, 0xf5, 0xff, 0xff, 0xff},
                                       {0x48, 0x89, 0xc3},
                                       {0xc6, 0x05, 0xec, 0xff, 0xff, 0xff, 5},
                                       {0xe8, 0xe6, 0xff, 0xff, 0xff}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 5u);
  EXPECT_THAT(complaints, IsEmpty());
  EXPECT_EQ(judge().expected().outcome.state.gpr[x86::kRbx], 1u);
}

TEST(ChangingCode, StringStoreOverWhatFollows) {
  // lea rdi, [rip + ..]; mov ecx, 5; mov al, 0x90; rep stosb; (five bytes: mov eax, 3); add eax, 1
  const Block block = block_of(kCodeBase + 0x200, {{0x48, 0x8d, 0x3d, 9, 0, 0, 0},
                                                   {0xb9, 5, 0, 0, 0},
                                                   {0xb0, 0x90},
                                                   {0xf3, 0xaa},
                                                   {0xb8, 3, 0, 0, 0},
                                                   {0x83, 0xc0, 1}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 0x91u);
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(ChangingCode, ReturnAddressOnThePageOfTheCode) {
  // lea rsp, [rip + 0x80]; push 1; pop rax: a stack between instructions
  const Block block = block_of(kCodeBase + 0x300, {{0x48, 0x8d, 0x25, 0x80, 0, 0, 0}, {0x6a, 1}, {0x58}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 1u);
  EXPECT_THAT(complaints, IsEmpty());
}

// --- 32-bit code

TEST(CompatCode, NextInstructionOfTheSameBlockChanges) {
  // mov byte [10000108], 7; mov eax, 1
  const Block block =
      compat_block_of(kCodeBase + 0x100, {{0xc6, 0x05, 8, 1, 0, 0x10, 7}, {0xb8, 1, 0, 0, 0}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 7u);
  EXPECT_THAT(complaints, IsEmpty());
}

// The bytes stay where they are and are other instructions: mov eax, 5; 48 90.
TEST(CompatCode, IsNotTakenFor64BitCodeAtTheSameAddress) {
  const std::initializer_list<std::initializer_list<unsigned>> bytes = {{0xb8, 5, 0, 0, 0}, {0x48, 0x90}};
  const Block wide = block_of(kCodeBase + 0x100, bytes);
  const Block compat = compat_block_of(kCodeBase + 0x100, bytes);
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(wide, complaints), 5u);
  EXPECT_EQ(result_of(compat, complaints), 4u);
  EXPECT_EQ(result_of(wide, complaints), 5u);
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(CompatCode, MovesTheAccumulatorToAndFromAnAddress) {
  // mov eax, 12345678; mov [20000100], eax; mov [20000102], ax; mov eax, [20000100]; mov al, [20000101]
  const Block block = compat_block_of(kCodeBase + 0x100, {{0xb8, 0x78, 0x56, 0x34, 0x12},
                                                          {0xa3, 0, 1, 0, 0x20},
                                                          {0x66, 0xa3, 2, 1, 0, 0x20},
                                                          {0xa1, 0, 1, 0, 0x20},
                                                          {0xa0, 1, 1, 0, 0x20}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 0x56785656u);
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(CompatCode, IncrementInOneByteKeepsTheCarry) {
  // stc; mov eax, 7fffffff; inc eax; pushf; dec eax; pop ebx
  const Block block = compat_block_of(
      kCodeBase + 0x100, {{0xf9}, {0xb8, 0xff, 0xff, 0xff, 0x7f}, {0x40}, {0x9c}, {0x48}, {0x5b}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 0x7fffffffu);
  EXPECT_THAT(complaints, IsEmpty());
  EXPECT_EQ(judge().expected().outcome.state.gpr[x86::kRbx] & x86::kArithmeticFlags,
            x86::kArithmeticFlags & ~x86::kFlagZf);
}

TEST(CompatCode, BitOffsetReachesBelowAddressZero) {
  // mov ebx, 8; mov ecx, 80000000; bts [ebx], ecx
  const Block block =
      compat_block_of(kCodeBase + 0x100, {{0xbb, 8, 0, 0, 0}, {0xb9, 0, 0, 0, 0x80}, {0x0f, 0xab, 0x0b}});
  std::vector<std::string> complaints;
  result_of(block, complaints);
  EXPECT_THAT(complaints, IsEmpty());
  EXPECT_EQ(judge().expected().outcome.vector, x86::kVectorPf);
  EXPECT_EQ(judge().expected().outcome.cr2, 0xf0000008u);
}

TEST(CompatCode, SumsOfAddressesWrap) {
  // mov ebx, f0000000; mov ecx, 80000000; bts [ebx + 40000100], ecx; lea eax, [ebx + 2 * ecx + 30000100]
  const Block block = compat_block_of(kCodeBase + 0x100, {{0xbb, 0, 0, 0, 0xf0},
                                                          {0xb9, 0, 0, 0, 0x80},
                                                          {0x0f, 0xab, 0x8b, 0, 1, 0, 0x40},
                                                          {0x8d, 0x84, 0x4b, 0, 1, 0, 0x30},
                                                          {0x8b, 0x80, 0, 0, 0, 0}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 1u);
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(CompatCode, StackPointerIsPushedAsItWasAndPoppedAsItIs) {
  // push esp; pop eax; push 20008600; pop esp; sub eax, esp
  const Block block =
      compat_block_of(kCodeBase + 0x100, {{0x54}, {0x58}, {0x68, 0, 0x86, 0, 0x20}, {0x5c}, {0x29, 0xe0}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 0x200u);
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(CompatCode, PopToTheStackUsesTheNewStackPointer) {
  // push 5; push 6; pop [esp]; pop eax
  const Block block = compat_block_of(kCodeBase + 0x100, {{0x6a, 5}, {0x6a, 6}, {0x8f, 0x04, 0x24}, {0x58}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(block, complaints), 6u);
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(CompatCode, PushWrapsBelowAddressZero) {
  // mov esp, 0; push eax
  const Block block = compat_block_of(kCodeBase + 0x100, {{0xbc, 0, 0, 0, 0}, {0x50}});
  std::vector<std::string> complaints;
  result_of(block, complaints);
  EXPECT_THAT(complaints, IsEmpty());
  EXPECT_EQ(judge().expected().outcome.vector, x86::kVectorPf);
  EXPECT_EQ(judge().expected().outcome.cr2, 0xfffffffcu);
}

TEST(CompatCode, AccessAcrossTheEndOfTheAddressSpaceFaults) {
  // mov eax, fffffffe; mov ecx, [eax]
  const Block block = compat_block_of(kCodeBase + 0x100, {{0xb8, 0xfe, 0xff, 0xff, 0xff}, {0x8b, 0x08}});
  std::vector<std::string> complaints;
  result_of(block, complaints);
  EXPECT_THAT(complaints, IsEmpty());
  EXPECT_EQ(judge().expected().outcome.vector, x86::kVectorGp);
  EXPECT_EQ(judge().expected().outcome.error_code, 0u);
}

// --- Isolation

// A page of the host's that nobody may touch.
class HostPage {
 public:
  HostPage() {
    void* memory = mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bytes_ = {static_cast<u8*>(memory), kPageSize};
    std::ranges::fill(bytes_, kPattern);
  }
  u64 address() const { return reinterpret_cast<u64>(bytes_.data()); }
  bool is_untouched() const {
    return std::ranges::all_of(bytes_, [](u8 byte) { return byte == kPattern; });
  }

 private:
  static constexpr u8 kPattern = 0xa7;
  std::span<u8> bytes_;
};

// Ends of everything: the address space's, its halves', the windows', guest RAM's, and the host's own memory.
std::vector<u64> wild_addresses(const HostPage& page) {
  u64 on_stack = 0;
  return {0,
          ~u64{0},
          ~u64{0} - 4096,
          0x7fff'ffff'ffff,
          0x7fff'ffff'f000,
          0x8000'0000'0000,
          0xffff'7fff'ffff'ffff,
          0xffff'8000'0000'0000,
          0xffff'ffff'8000'0000,
          0xffff'ffff'8001'0000,
          u64{1} << 63,
          u64{0xc000} << 48,
          0x7fff'ffff,
          0xffff'ffff,
          u64{1} << 32,
          kDataBase,
          kReadOnlyBase,
          kDataEnd,
          kStackBase,
          kStackBase + kStackSize,
          kEdgeBase,
          kEdgeBase + kPageSize,
          kEdgeBase + kPageSize - 4,
          kEdgeBase + 2 * kPageSize,
          page.address(),
          page.address() + kPageSize,
          page.address() - kDataBase,
          reinterpret_cast<u64>(&on_stack),
          reinterpret_cast<u64>(&wild_addresses)};
}

// Every addressing form with registers that point where a guest has nothing: the translator does exactly what
// the interpreter does, which checks every access, and nothing of the host's changes.
void expect_isolation(bool is_compat) {
  const HostPage page;
  const Decoder decoder(is_compat);
  const FormTable forms(decoder);
  Generator generator(decoder, forms);
  const std::vector<u64> addresses = wild_addresses(page);
  auto block = std::make_unique<Block>();
  auto start = std::make_unique<Start>();
  std::vector<std::string> complaints;
  u64 faults = 0;
  constexpr u64 kBlocks = 20000;
  for (u64 i = 0; i < kBlocks && complaints.empty(); ++i) {
    Random random(i);
    generator.make_block({.instructions = 6, .reads_time = true, .wild_addresses = addresses}, random,
                         *block);
    generator.make_start(random, *start);
    judge().place(*block);
    if (!judge().start(*start, i)) continue;
    faults += judge().expected().outcome.vector != Outcome::kNoFault ? 1 : 0;
    for (const Way way : {Way::kTranslator, Way::kSingle, Way::kCounted}) {
      for (const std::string& line : judge().judge(way)) complaints.push_back(line);
    }
    if (!complaints.empty()) complaints.push_back(disassemble(*block));
  }
  EXPECT_THAT(complaints, IsEmpty());
  EXPECT_TRUE(page.is_untouched());
  EXPECT_GT(faults, kBlocks / 2);
}

TEST(Isolation, NoAddressingFormReachesTheHost) { expect_isolation(false); }
TEST(Isolation, NoAddressingFormOf32BitCodeReachesTheHost) { expect_isolation(true); }

// --- Code memory

TEST(CodeMemory, NoMappingIsWritableAndExecutable) {
  const auto machine = *Machine::create(Engine::kTranslator);
  unsigned writable = 0;
  unsigned executable = 0;
  unsigned both = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("doppel-code") == std::string::npos) continue;
    const std::string permissions = line.substr(line.find(' ') + 1, 4);
    const bool has_write = permissions[1] == 'w';
    const bool has_execute = permissions[2] == 'x';
    writable += has_write ? 1 : 0;
    executable += has_execute ? 1 : 0;
    both += has_write && has_execute ? 1 : 0;
  }
  EXPECT_GT(writable, 0u);
  EXPECT_EQ(writable, executable);
  EXPECT_EQ(both, 0u);
}

// --- The fuzzer itself

// Blocks that are other blocks in the translator than in the interpreter must be told from each other.
TEST(BlockFuzzer, FindsAWrongInstruction) {
  const Block right = block_of(kCodeBase + 0x100, {{0xb8, 1, 0, 0, 0}, {0x83, 0xc0, 1}});
  const Block wrong = block_of(kCodeBase + 0x100, {{0xb8, 1, 0, 0, 0}, {0x83, 0xc0, 2}});
  auto start = std::make_unique<Start>();
  *start = {};
  start->state.rip = right.start;
  judge().place(right);
  ASSERT_TRUE(judge().start(*start, 1));
  judge().place(wrong);
  EXPECT_FALSE(judge().judge(Way::kTranslator).empty());
}

// What a guest may not execute is emulated by the host's kernel (SLDT with UMIP) or answered by its processor
// (CPUID): a block that comes to that is not compared, whether it ends there or goes on.
TEST(BlockFuzzer, ComparesNothingBehindWhatTheHostAnswers) {
  // mov byte [rip + 1], 0; a NOP that becomes SLDT [rcx]; mov eax, 1
  const Block changed =
      block_of(kCodeBase + 0x100, {{0xc6, 0x05, 1, 0, 0, 0, 0}, {0x0f, 0x1f, 0x01}, {0xb8, 1, 0, 0, 0}});
  // jmp into an immediate that is CPUID; mov ebx, 1
  const Block inside =
      block_of(kCodeBase + 0x100, {{0xeb, 1}, {0xb8, 0x0f, 0xa2, 0x90, 0x90}, {0xbb, 1, 0, 0, 0}});
  // mov eax, 7; a breakpoint: compared
  const Block ordinary = block_of(kCodeBase + 0x100, {{0xb8, 7, 0, 0, 0}, {0xcc}});
  for (const Block* block : {&changed, &inside, &ordinary}) {
    auto start = std::make_unique<Start>();
    *start = {};
    start->state.rip = block->start;
    start->state.rflags = x86::kFlagReserved1 | x86::kFlagIf;
    start->state.gpr[x86::kRcx] = kDataBase;
    judge().place(*block);
    ASSERT_TRUE(judge().start(*start, 1));
    EXPECT_THAT(judge().judge(Way::kInterpreter), IsEmpty());
  }
  EXPECT_EQ(judge().expected().outcome.vector, x86::kVectorBp);
}

// A block before may have loaded segment registers of the host's, which only 32-bit code uses.
TEST(BlockFuzzer, LoadsSegmentsAnewFor32BitCode) {
  // xor eax, eax; mov ds, eax; mov es, eax; mov eax, 1
  const Block before =
      block_of(kCodeBase + 0x100, {{0x31, 0xc0}, {0x8e, 0xd8}, {0x8e, 0xc0}, {0xb8, 1, 0, 0, 0}});
  // mov byte [20000100], 7; mov edi, 20000100; mov al, 7; scasb; mov eax, 2
  const Block compat = compat_block_of(
      kCodeBase + 0x100,
      {{0xc6, 0x05, 0, 1, 0, 0x20, 7}, {0xbf, 0, 1, 0, 0x20}, {0xb0, 7}, {0xae}, {0xb8, 2, 0, 0, 0}});
  std::vector<std::string> complaints;
  EXPECT_EQ(result_of(before, complaints), 1u);
  EXPECT_EQ(result_of(compat, complaints), 2u);
  EXPECT_THAT(complaints, IsEmpty());
}

// An error of the interpreter's is told from such a block: the host runs another block than it.
void expect_difference(const Block& right, const Block& wrong) {
  auto start = std::make_unique<Start>();
  *start = {};
  start->state.rip = right.start;
  judge().place(right);
  ASSERT_TRUE(judge().start(*start, 1));
  judge().place(wrong);
  EXPECT_FALSE(judge().judge(Way::kInterpreter).empty());
  judge().place(right);
  EXPECT_TRUE(judge().start(*start, 1));
}

TEST(BlockFuzzer, FindsThatHostAndInterpreterDiffer) {
  expect_difference(block_of(kCodeBase + 0x100, {{0xb8, 1, 0, 0, 0}}),
                    block_of(kCodeBase + 0x100, {{0xb8, 2, 0, 0, 0}}));
}

TEST(BlockFuzzer, FindsThatHostAndInterpreterDifferIn32BitCode) {
  expect_difference(compat_block_of(kCodeBase + 0x100, {{0xb8, 1, 0, 0, 0}}),
                    compat_block_of(kCodeBase + 0x100, {{0xb8, 2, 0, 0, 0}}));
}

TEST(BlockFuzzer, EqualSeedsGiveEqualBlocks) {
  const Decoder decoder(false);
  const FormTable forms(decoder);
  Generator generator(decoder, forms);
  Block first;
  Block second;
  Random random(5);
  generator.make_block({}, random, first);
  random = Random(5);
  generator.make_block({}, random, second);
  EXPECT_EQ(first.code, second.code);
  EXPECT_EQ(first.instructions, second.instructions);
}

}  // namespace
}  // namespace doppel::blocks
