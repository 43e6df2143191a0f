// Which instructions the translator takes.
#include "engine/jit/classify.h"

#include <gtest/gtest.h>

#include <vector>

namespace doppel::jit {
namespace {

x86::FeatureSet every_feature() { return x86::host_features(); }

Classified classified(std::vector<u8> bytes, const x86::FeatureSet& features = every_feature(),
                      u8 code_size = 8) {
  bytes.resize(15, 0);
  Decoded decoded;
  const InstructionDecoder decoder(code_size, true, features);
  if (decoder.decode(bytes.data(), bytes.size(), 0, decoded) != InstructionDecoder::Status::kOk) return {};
  return classify(decoded, features);
}
Kind kind(std::vector<u8> bytes) { return classified(std::move(bytes)).kind; }
Kind kind_in_32bit(std::vector<u8> bytes) { return classified(std::move(bytes), every_feature(), 4).kind; }

TEST(Classify, IntegerCodeIsPlain) {
  EXPECT_EQ(kind({0x48, 0x01, 0xd8}), Kind::kPlain);              // add rax, rbx
  EXPECT_EQ(kind({0x4c, 0x8b, 0x64, 0x24, 0x08}), Kind::kPlain);  // mov r12, [rsp + 8]
  EXPECT_EQ(kind({0xf0, 0x0f, 0xb1, 0x0f}), Kind::kPlain);        // lock cmpxchg [rdi], ecx
  EXPECT_EQ(kind({0xc4, 0xe2, 0xfb, 0xf7, 0xc0}), Kind::kPlain);  // shrx
  EXPECT_EQ(kind({0x0f, 0x94, 0xc0}), Kind::kPlain);              // sete al
}

TEST(Classify, DivisionMayFaultInTheHost) {
  EXPECT_TRUE(classified({0x48, 0xf7, 0xf1}).may_fault);   // div rcx
  EXPECT_FALSE(classified({0x48, 0xf7, 0xe1}).may_fault);  // mul rcx
}

TEST(Classify, ControlFlow) {
  EXPECT_EQ(kind({0xeb, 0x10}), Kind::kJump);
  EXPECT_EQ(kind({0x75, 0x10}), Kind::kJumpIf);
  EXPECT_EQ(kind({0xe8, 0, 0, 0, 0}), Kind::kCall);
  EXPECT_EQ(kind({0xff, 0xd0}), Kind::kCallIndirect);
  EXPECT_EQ(kind({0xff, 0x20}), Kind::kJumpIndirect);
  EXPECT_EQ(kind({0xc3}), Kind::kReturn);
  EXPECT_EQ(kind({0xc2, 8, 0}), Kind::kReturn);
}

TEST(Classify, CountedBranches) {
  EXPECT_EQ(kind({0xe2, 0xfe}), Kind::kLoop);
  EXPECT_EQ(kind({0x67, 0xe3, 0x10}), Kind::kLoop);                // jecxz
  EXPECT_EQ(kind_in_32bit({0x67, 0xe3, 0x10}), Kind::kInterpret);  // jcxz
}

TEST(Classify, FarTransfersAreInterpreted) {
  EXPECT_EQ(kind({0xff, 0x28}), Kind::kInterpret);  // jmp far [rax]
  EXPECT_EQ(kind({0xcb}), Kind::kInterpret);        // retf
  EXPECT_EQ(kind({0x48, 0xcf}), Kind::kInterpret);  // iretq
}

// AMD's processors take the prefix for what it says, Intel's do not.
TEST(Classify, NearBranchWithOperandSizePrefixIsInterpreted) {
  EXPECT_EQ(kind({0x66, 0xe8, 0, 0, 0, 0}), Kind::kInterpret);
}

TEST(Classify, StackOperandsOfSixteenBitsAreInterpreted) {
  EXPECT_EQ(kind({0x50}), Kind::kPush);
  EXPECT_EQ(kind({0x41, 0x5c}), Kind::kPop);
  EXPECT_EQ(kind({0x66, 0x50}), Kind::kInterpret);
  EXPECT_EQ(kind({0x0f, 0xa0}), Kind::kInterpret);  // push fs
}

TEST(Classify, BitStringsReachBeyondTheirOperand) {
  EXPECT_EQ(kind({0x48, 0x0f, 0xab, 0x07}), Kind::kBitString);    // bts [rdi], rax
  EXPECT_EQ(kind({0x66, 0x0f, 0xab, 0x07}), Kind::kInterpret);    // bts [rdi], ax
  EXPECT_EQ(kind({0x48, 0x0f, 0xba, 0x2f, 0x07}), Kind::kPlain);  // bts [rdi], 7
  EXPECT_EQ(kind({0x48, 0x0f, 0xab, 0xc7}), Kind::kPlain);        // bts rdi, rax
}

TEST(Classify, StringsWithSegmentOrShortAddressAreInterpreted) {
  EXPECT_EQ(kind({0xf3, 0x48, 0xa5}), Kind::kString);
  EXPECT_EQ(kind({0xaa}), Kind::kString);
  EXPECT_EQ(kind({0x64, 0xa4}), Kind::kInterpret);
  EXPECT_EQ(kind({0x67, 0xa4}), Kind::kInterpret);
  EXPECT_EQ(kind({0xf3, 0xa6}), Kind::kInterpret);  // repe cmpsb
}

TEST(Classify, VectorsNeedTheirState) {
  EXPECT_EQ(classified({0x0f, 0x58, 0xc1}).vectors, Vectors::kSse);        // addps
  EXPECT_EQ(classified({0xc5, 0xf4, 0x58, 0xc2}).vectors, Vectors::kAvx);  // vaddps ymm
  EXPECT_EQ(classified({0x48, 0x01, 0xd8}).vectors, Vectors::kNone);
}

TEST(Classify, VectorsWithHiddenMemoryAreInterpreted) {
  EXPECT_EQ(kind({0x66, 0x0f, 0xf7, 0xc1}), Kind::kInterpret);              // maskmovdqu
  EXPECT_EQ(kind({0xc4, 0xe2, 0x75, 0x92, 0x04, 0x90}), Kind::kInterpret);  // vgatherdps
  EXPECT_EQ(kind({0x0f, 0xae, 0x10}), Kind::kInterpret);                    // ldmxcsr
}

TEST(Classify, X87AndMmxNeedTheirState) {
  for (const auto& code : std::vector<std::vector<u8>>{{0xd9, 0xc0},           // fld st0
                                                       {0xdb, 0x2f},           // fld tword [rdi]
                                                       {0xdf, 0xe0},           // fnstsw ax
                                                       {0x9b},                 // fwait
                                                       {0x0f, 0x77},           // emms
                                                       {0x0f, 0xfc, 0xc1},     // paddb mm0, mm1
                                                       {0x0f, 0x6e, 0xc8}}) {  // movd mm1, eax
    EXPECT_EQ(classified(code).kind, Kind::kPlain) << testing::PrintToString(code);
    EXPECT_EQ(classified(code).vectors, Vectors::kX87) << testing::PrintToString(code);
  }
  EXPECT_EQ(kind({0xd9, 0x2f}), Kind::kLoadX87Control);         // fldcw
  EXPECT_EQ(kind({0xd9, 0x27}), Kind::kInterpret);              // fldenv
  EXPECT_EQ(kind({0xdb, 0xe3}), Kind::kInterpret);              // fninit
  EXPECT_EQ(kind({0x0f, 0x2a, 0xc1}), Kind::kInterpret);        // cvtpi2ps xmm0, mm1
  EXPECT_EQ(kind({0xf3, 0x0f, 0xd6, 0xc1}), Kind::kInterpret);  // movq2dq xmm0, mm1
  EXPECT_EQ(kind({0x0f, 0xf7, 0xc1}), Kind::kInterpret);        // maskmovq
}

TEST(Classify, ControlInstructionsKeepTheX87Pointer) {
  EXPECT_TRUE(classified({0xd8, 0xc1}).sets_pointer);   // fadd st0, st1
  EXPECT_FALSE(classified({0xd9, 0x3f}).sets_pointer);  // fnstcw
  EXPECT_FALSE(classified({0xdb, 0xe2}).sets_pointer);  // fnclex
  EXPECT_FALSE(classified({0x0f, 0xfc, 0xc1}).sets_pointer);
}

TEST(Classify, PrivilegedInstructionsOfTheKernel) {
  EXPECT_EQ(kind({0xfa}), Kind::kFlags);                   // cli
  EXPECT_EQ(kind({0x0f, 0x01, 0xcb}), Kind::kAccessFlag);  // stac
  EXPECT_EQ(kind({0x0f, 0x01, 0xf8}), Kind::kSwapGs);
  EXPECT_EQ(kind({0x0f, 0x05}), Kind::kSystemCall);
  EXPECT_EQ(kind({0x48, 0x0f, 0x07}), Kind::kSystemReturn);
  EXPECT_EQ(kind({0x0f, 0x07}), Kind::kInterpret);          // to 32-bit code
  EXPECT_EQ(kind({0x0f, 0x20, 0xd0}), Kind::kReadControl);  // mov rax, cr2
  EXPECT_EQ(kind({0x0f, 0x22, 0xd8}), Kind::kInterpret);    // mov cr3, rax
  EXPECT_EQ(kind({0xf4}), Kind::kInterpret);
  EXPECT_EQ(kind({0x0f, 0xa2}), Kind::kInterpret);        // cpuid
  EXPECT_EQ(kind({0x0f, 0x01, 0xd0}), Kind::kInterpret);  // xgetbv
}

TEST(Classify, WhatIsNotOfferedIsInterpretedAndSoRaisesUd) {
  EXPECT_EQ(classified({0xc5, 0xf4, 0x58, 0xc2}, x86::FeatureSet()).kind, Kind::kInterpret);  // vaddps
  EXPECT_EQ(classified({0xf3, 0x0f, 0xb8, 0xc1}, x86::FeatureSet()).kind, Kind::kInterpret);  // popcnt
}

TEST(Classify, HighByteBesideRegistersThatMovedIsInterpreted) {
  EXPECT_EQ(kind({0x0f, 0xb6, 0xe4}), Kind::kInterpret);  // movzx esp, ah
  EXPECT_EQ(kind({0x00, 0xe7}), Kind::kPlain);            // add bh, ah
}

TEST(Classify, InstructionsOf32BitCodeOnly) {
  EXPECT_EQ(kind_in_32bit({0x41}), Kind::kPlain);              // inc ecx
  EXPECT_EQ(kind_in_32bit({0x66, 0x4f}), Kind::kPlain);        // dec di
  EXPECT_EQ(kind_in_32bit({0xa1, 1, 2, 3, 4}), Kind::kPlain);  // mov eax, [0x04030201]
  EXPECT_EQ(kind_in_32bit({0x82, 0xc0, 1}), Kind::kPlain);     // add al, 1
  EXPECT_EQ(kind_in_32bit({0x9c}), Kind::kFlags);              // pushfd
  EXPECT_EQ(kind_in_32bit({0x55}), Kind::kPush);
  EXPECT_EQ(kind_in_32bit({0xf3, 0xa5}), Kind::kString);             // rep movsd
  EXPECT_EQ(kind_in_32bit({0x0f, 0xab, 0x07}), Kind::kBitString);    // bts [edi], eax
  EXPECT_EQ(kind_in_32bit({0x65, 0xa1, 0, 0, 0, 0}), Kind::kPlain);  // mov eax, gs:[0]
}

TEST(Classify, WhatDiffersIn32BitCodeIsInterpreted) {
  EXPECT_EQ(kind_in_32bit({0x66, 0x55}), Kind::kInterpret);                          // push bp
  EXPECT_EQ(kind_in_32bit({0x06}), Kind::kInterpret);                                // push es
  EXPECT_EQ(kind_in_32bit({0x60}), Kind::kInterpret);                                // pusha
  EXPECT_EQ(kind_in_32bit({0x37}), Kind::kInterpret);                                // aaa
  EXPECT_EQ(kind_in_32bit({0x0f, 0x05}), Kind::kInterpret);                          // syscall
  EXPECT_EQ(kind_in_32bit({0x2e, 0x8b, 0x00}), Kind::kInterpret);                    // mov eax, cs:[eax]
  EXPECT_EQ(kind_in_32bit({0x67, 0x8b, 0x00}), Kind::kInterpret);                    // mov eax, [bx + si]
  EXPECT_EQ(kind_in_32bit({0x67, 0xa4}), Kind::kInterpret);                          // movsb with SI, DI
  EXPECT_EQ(kind_in_32bit({0x65, 0x0f, 0xab, 0x07}), Kind::kInterpret);              // bts gs:[edi], eax
  EXPECT_EQ(kind_in_32bit({0x65, 0xa1, 0xfd, 0xff, 0xff, 0xff}), Kind::kInterpret);  // beyond 4 GiB
  EXPECT_EQ(kind_in_32bit({0xc5, 0xf8, 0x77}), Kind::kInterpret);                    // vzeroupper
  EXPECT_EQ(kind_in_32bit({0xc4, 0xe1, 0xf9, 0x6e, 0xc0}), Kind::kInterpret);        // vmovd, VEX.W ignored
  EXPECT_EQ(kind_in_32bit({0xc4, 0xe2, 0xf8, 0xf2, 0xc0}), Kind::kInterpret);        // andn, VEX.W ignored
}

TEST(Classify, NumbersOfPartialRegisters) {
  EXPECT_EQ(guest_number(ZYDIS_REGISTER_AH), 0u);
  EXPECT_EQ(guest_number(ZYDIS_REGISTER_BH), 3u);
  EXPECT_EQ(guest_number(ZYDIS_REGISTER_SIL), 6u);
  EXPECT_EQ(guest_number(ZYDIS_REGISTER_R15D), 15u);
}

}  // namespace
}  // namespace doppel::jit
