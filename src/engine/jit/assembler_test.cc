// The assembler's bytes, as Zydis reads them.
#include "engine/jit/assembler.h"

#include <Zydis/Zydis.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace doppel::jit {
namespace {

// Room for a little code, at an address that is as good as any.
struct Bench {
  std::array<u8, 256> room = {};
  Assembler a{room, room.data()};

  // All instructions in Intel syntax, "; " between them. Branches: relative to the first byte.
  std::string text() const {
    ZydisDecoder decoder;
    ZydisFormatter formatter;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, 2);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_DISP_PADDING, 2);
    ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_IMM_PADDING, 2);
    std::string all;
    for (u32 at = 0; at < a.position();) {
      ZydisDecodedInstruction instruction;
      ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
      char line[128] = "(bad)";
      if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, room.data() + at, a.position() - at, &instruction,
                                               operands))) {
        return all + line;
      }
      ZydisFormatterFormatInstruction(&formatter, &instruction, operands, instruction.operand_count_visible,
                                      line, sizeof(line), at, nullptr);
      all += (all.empty() ? "" : "; ") + std::string(line);
      at += instruction.length;
    }
    return all;
  }
};

std::string load(const Memory& memory) {
  Bench bench;
  bench.a.load(x86::kRax, memory);
  return bench.text();
}

TEST(Assembler, BaseAlone) {
  EXPECT_EQ(load({.base = x86::kRbx}), "mov rax, [rbx]");
  EXPECT_EQ(load({.base = x86::kR14}), "mov rax, [r14]");
}

TEST(Assembler, RspAndR12AsBaseNeedSib) {
  EXPECT_EQ(load({.base = x86::kRsp}), "mov rax, [rsp]");
  EXPECT_EQ(load({.base = x86::kR12}), "mov rax, [r12]");
  EXPECT_EQ(load({.base = x86::kR12, .displacement = 8}), "mov rax, [r12+0x08]");
}

TEST(Assembler, RbpAndR13AsBaseNeedDisplacement) {
  EXPECT_EQ(load({.base = x86::kRbp}), "mov rax, [rbp]");
  EXPECT_EQ(load({.base = x86::kR13}), "mov rax, [r13]");
  EXPECT_EQ(load({.base = x86::kR13, .index = x86::kR15}), "mov rax, [r13+r15*1]");
}

TEST(Assembler, DisplacementsTakeTheWidthTheyNeed) {
  EXPECT_EQ(load({.base = x86::kRax, .displacement = 127}), "mov rax, [rax+0x7f]");
  EXPECT_EQ(load({.base = x86::kRax, .displacement = 128}), "mov rax, [rax+0x80]");
  EXPECT_EQ(load({.base = x86::kRax, .displacement = -128}), "mov rax, [rax-0x80]");
  EXPECT_EQ(load({.base = x86::kRax, .displacement = -129}), "mov rax, [rax-0x81]");
  EXPECT_EQ(load({.base = x86::kRsp, .displacement = 0x12345678}), "mov rax, [rsp+0x12345678]");
}

TEST(Assembler, IndexAndScale) {
  EXPECT_EQ(load({.base = x86::kRsp, .index = x86::kR15, .scale = 3, .displacement = 0x4000}),
            "mov rax, [rsp+r15*8+0x4000]");
  EXPECT_EQ(load({.base = x86::kR14, .index = x86::kRbp, .scale = 1}), "mov rax, [r14+rbp*2]");
  EXPECT_EQ(load({.base = x86::kRax, .index = x86::kR12, .scale = 2}), "mov rax, [rax+r12*4]");
}

TEST(Assembler, RegistersOfBothHalves) {
  Bench bench;
  bench.a.move(x86::kR15, x86::kRax);
  bench.a.move(x86::kRcx, x86::kR13);
  bench.a.move(x86::kRdx, x86::kRdx);
  bench.a.store({.base = x86::kRsp, .displacement = 16}, x86::kR9);
  bench.a.lea(x86::kR12, {.base = x86::kR12, .displacement = -8});
  EXPECT_EQ(bench.text(), "mov r15, rax; mov rcx, r13; mov [rsp+0x10], r9; lea r12, [r12-0x08]");
}

TEST(Assembler, NarrowOperationHasNoWideBit) {
  Bench bench;
  bench.a.op(false, {0x8d}, x86::kR8, {.base = x86::kRax, .displacement = 1});
  bench.a.op(false, {0x0f, 0xb6}, x86::kRdx, Host{x86::kR14});
  EXPECT_EQ(bench.text(), "lea r8d, [rax+0x01]; movzx edx, r14b");
}

TEST(Assembler, ConstantsOfEveryLength) {
  Bench bench;
  bench.a.set(x86::kR14, 0);
  bench.a.set(x86::kRcx, 0xffffffff);
  bench.a.set(x86::kR14, 0xffffffff80000000);
  bench.a.set(x86::kR15, 0x123456789abcdef0);
  EXPECT_EQ(bench.text(),
            "mov r14d, 0x00; mov ecx, 0xffffffff; mov r14, 0xffffffff80000000; mov r15, 0x123456789abcdef0");
}

TEST(Assembler, Vex) {
  Bench bench;
  bench.a.pext(x86::kR15, x86::kR14, {.base = x86::kRsp, .displacement = 0x40});
  bench.a.vex({2, 2, 1, 0, 0xf7}, x86::kR15, x86::kRcx, x86::kR15);
  bench.a.pext(x86::kRcx, x86::kRax, {.base = x86::kR13, .index = x86::kR9, .scale = 1});
  EXPECT_EQ(bench.text(), "pext r15, r14, [rsp+0x40]; sarx r15, r15, rcx; pext rcx, rax, [r13+r9*2]");
}

TEST(Assembler, ForwardBranches) {
  Bench bench;
  const u32 jump = bench.a.jump();
  const u32 jump_if = bench.a.jump_if(5);
  const u32 zero = bench.a.jump_if_zero();
  bench.a.bytes({0x90, 0x90});
  bench.a.bind(jump);
  bench.a.bind(jump_if);
  bench.a.bind_short(zero);
  const std::string text = bench.text();
  EXPECT_EQ(bench.a.position(), 15u);
  EXPECT_EQ(text.find("(bad)"), std::string::npos) << text;
  EXPECT_EQ(bench.room[1], 10);  // 15 - 5
  EXPECT_EQ(bench.room[7], 4);   // 15 - 11
  EXPECT_EQ(bench.room[12], 2);
}

TEST(Assembler, BackwardBranches) {
  Bench bench;
  bench.a.bytes({0x90, 0x90});
  bench.a.jump_to(bench.a.at(0));
  bench.a.jump_if_zero_to(1);
  EXPECT_EQ(bench.room[3], 0xf9);  // -7
  EXPECT_EQ(bench.room[8], 0xf8);  // -8
}

TEST(Assembler, FullIsRememberedAndNothingIsWrittenBehindTheRoom) {
  std::array<u8, 96> room = {};
  Assembler assembler(std::span(room).first(64), room.data());
  for (int i = 0; i < 100; ++i) assembler.set(x86::kR14, 0x123456789abcdef0);
  EXPECT_TRUE(assembler.is_full());
  EXPECT_LE(assembler.position(), 64u);
  EXPECT_EQ(std::vector<u8>(room.begin() + 64, room.end()), std::vector<u8>(32));
}

}  // namespace
}  // namespace doppel::jit
