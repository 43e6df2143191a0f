// Exceptions, pointers and modes around stubs.
#include <gtest/gtest.h>

#include <cfenv>
#include <initializer_list>

#include "engine/interp/borrowed.h"
#include "engine/interp/borrowed_decode_test.h"

namespace doppel {
namespace {

using test::decode;
using test::Decoded;

constexpr u32 kInvalid = 1;
constexpr u32 kDivideByZero = 4;
constexpr u32 kUnderflow = 0x10;
constexpr u32 kPrecision = 0x20;
constexpr u32 kAllMasked = 0x1f80;

class BorrowedRunTest : public testing::Test {
 protected:
  BorrowedRunTest() : code_(std::move(*BorrowedCode::create())) { state_.cr0 = x86::kCr0Pe; }

  const BorrowedStub* make(std::initializer_list<u8> bytes,
                           ZydisMachineMode mode = ZYDIS_MACHINE_MODE_LONG_64) {
    const Decoded decoded = decode(std::span(bytes.begin(), bytes.size()), mode);
    EXPECT_TRUE(decoded.is_valid);
    return code_.make(decoded.instruction, decoded.visible_and_hidden(), decoded.code());
  }
  BorrowedResult run(std::initializer_list<u8> bytes, ZydisMachineMode mode = ZYDIS_MACHINE_MODE_LONG_64) {
    stub_ = make(bytes, mode);
    EXPECT_NE(stub_, nullptr);
    return stub_ == nullptr ? BorrowedResult::kX87Exception
                            : run_borrowed(*stub_, state_, memory_.data(), &flags_);
  }
  template <class T>
  T memory_at(size_t offset) const {
    T value;
    std::memcpy(&value, memory_.data() + offset, sizeof value);
    return value;
  }
  void set_double(unsigned index, double value) { std::memcpy(&state_.ymm[index].qword[0], &value, 8); }

  BorrowedCode code_;
  const BorrowedStub* stub_ = nullptr;
  CpuState state_;
  u64 flags_ = 2;
  alignas(64) std::array<u8, 128> memory_ = {};
};

TEST_F(BorrowedRunTest, MaskedSimdExceptionOnlySetsItsFlag) {
  state_.fx.mxcsr = kAllMasked;
  set_double(0, 1.0);
  set_double(1, 0.0);
  EXPECT_EQ(run({0xf2, 0x0f, 0x5e, 0xc1}), BorrowedResult::kDone);  // divsd xmm0, xmm1
  EXPECT_EQ(state_.fx.mxcsr, kAllMasked | kDivideByZero);
  EXPECT_EQ(state_.ymm[0].qword[0], 0x7ff0000000000000u);
}

TEST_F(BorrowedRunTest, UnmaskedSimdExceptionLeavesRegistersUnchanged) {
  state_.fx.mxcsr = kAllMasked & ~(kDivideByZero << 7);
  set_double(0, 1.0);
  set_double(1, 0.0);
  EXPECT_EQ(run({0xf2, 0x0f, 0x5e, 0xc1}), BorrowedResult::kSimdException);
  EXPECT_EQ(state_.fx.mxcsr, (kAllMasked & ~(kDivideByZero << 7)) | kDivideByZero);
  EXPECT_EQ(state_.ymm[0].qword[0], 0x3ff0000000000000u);
}

TEST_F(BorrowedRunTest, OldStickyFlagIsNotAnException) {
  state_.fx.mxcsr = kInvalid;  // everything unmasked, an old flag
  set_double(0, 1.0);
  set_double(1, 2.0);
  EXPECT_EQ(run({0xf2, 0x0f, 0x58, 0xc1}), BorrowedResult::kDone);  // addsd xmm0, xmm1
  EXPECT_EQ(state_.fx.mxcsr, kInvalid);
  EXPECT_EQ(state_.ymm[0].qword[0], 0x4008000000000000u);
}

TEST_F(BorrowedRunTest, UnmaskedUnderflowIsRaisedByExactTinyResult) {
  state_.fx.mxcsr = kAllMasked & ~(kUnderflow << 7);
  state_.ymm[0].qword[0] = 0x0010000000000000;  // the smallest normal number
  set_double(1, 0.5);
  EXPECT_EQ(run({0xf2, 0x0f, 0x59, 0xc1}), BorrowedResult::kSimdException);  // mulsd xmm0, xmm1
  EXPECT_EQ(state_.fx.mxcsr & kUnderflow, kUnderflow);
}

TEST_F(BorrowedRunTest, MaskedExactTinyResultRaisesNothing) {
  state_.ymm[0].qword[0] = 0x0010000000000000;
  set_double(1, 0.5);
  EXPECT_EQ(run({0xf2, 0x0f, 0x59, 0xc1}), BorrowedResult::kDone);
  EXPECT_EQ(state_.fx.mxcsr, kAllMasked);
  EXPECT_EQ(state_.ymm[0].qword[0], 0x0008000000000000u);
}

TEST_F(BorrowedRunTest, UnmaskedExceptionKeepsMemoryAndFlags) {
  state_.fx.mxcsr = kAllMasked & ~(kPrecision << 7);
  state_.ymm[1].qword[0] = state_.ymm[1].qword[1] = 0x3f8000013f800001;
  memory_.fill(0xee);
  EXPECT_EQ(run({0xc4, 0xe3, 0x79, 0x1d, 0x0b, 0x00}),
            BorrowedResult::kSimdException);  // vcvtps2ph [rbx], xmm1, 0
  EXPECT_EQ(memory_at<u64>(0), 0xeeeeeeeeeeeeeeeeu);
}

TEST_F(BorrowedRunTest, RoundingModeIsTheGuests) {
  state_.fx.mxcsr = kAllMasked | 0x4000;  // round up
  set_double(0, 1.25);
  EXPECT_EQ(run({0xf2, 0x48, 0x0f, 0x2d, 0xc0}), BorrowedResult::kDone);  // cvtsd2si rax, xmm0
  EXPECT_EQ(state_.gpr[x86::kRax], 2u);
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
}

TEST_F(BorrowedRunTest, HostFloatingPointModesAreRestored) {
  state_.fx.fcw = 0x0f7f;
  run({0xd9, 0xe8});  // fld1
  u16 control = 0;
  asm volatile("fnstcw %0" : "=m"(control));
  EXPECT_EQ(control, 0x37f);
  EXPECT_EQ(__builtin_ia32_stmxcsr() & ~0x3fu, kAllMasked);
}

TEST_F(BorrowedRunTest, PendingX87ExceptionStopsWaitingInstructions) {
  state_.fx.fcw = 0x37e;  // invalid unmasked
  state_.fx.fsw = 1;
  EXPECT_EQ(run({0xd9, 0xe8}), BorrowedResult::kX87Exception);  // fld1
  EXPECT_EQ(run({0x9b}), BorrowedResult::kX87Exception);        // fwait
  EXPECT_EQ(run({0x0f, 0x77}), BorrowedResult::kX87Exception);  // emms
  EXPECT_EQ(run({0xdb, 0xe2}), BorrowedResult::kDone);          // fnclex
  EXPECT_EQ(state_.fx.fsw, 0);
  EXPECT_EQ(run({0xd9, 0xe8}), BorrowedResult::kDone);
  EXPECT_EQ(state_.fx.ftw, 0x80);
}

TEST_F(BorrowedRunTest, StaleSummaryBitDoesNotReachTheHost) {
  state_.fx.fsw = 0x8081;  // invalid flagged but masked, summary set all the same
  EXPECT_EQ(run({0xd9, 0xe8}), BorrowedResult::kDone);
}

TEST_F(BorrowedRunTest, UnmaskedX87ExceptionIsLeftPending) {
  state_.fx.fcw = 0x37b;                                // divide by zero unmasked
  run({0xd9, 0xe8});                                    // fld1
  run({0xd9, 0xee});                                    // fldz
  EXPECT_EQ(run({0xde, 0xf9}), BorrowedResult::kDone);  // fdivp
  EXPECT_TRUE(has_pending_x87_exception(state_.fx));
  borrowed_fixup_x87(*stub_, state_, {.instruction_offset = 0x1234, .data_offset = 0x55, .opcode = 0x6f9});
  EXPECT_EQ(state_.fx.fip, 0x1234u);
  EXPECT_EQ(state_.fx.fop, 0x6f9);
  EXPECT_EQ(state_.fx.fdp, 0u);
}

TEST_F(BorrowedRunTest, X87StoreWithUnmaskedExceptionKeepsTheOperand) {
  state_.fx.fcw = 0x37e;
  memory_.fill(0x5a);
  EXPECT_EQ(run({0xdd, 0x1b}), BorrowedResult::kDone);  // fstp qword [rbx] from an empty stack
  EXPECT_TRUE(stub_->reads_memory);
  EXPECT_TRUE(has_pending_x87_exception(state_.fx));
  EXPECT_EQ(memory_at<u64>(0), 0x5a5a5a5a5a5a5a5au);
}

TEST_F(BorrowedRunTest, FixupSetsOnlyTheInstructionPointerWithoutException) {
  run({0xd9, 0x03});  // fld dword [rbx]
  EXPECT_EQ(state_.fx.fip, 0u);
  borrowed_fixup_x87(*stub_, state_, {.instruction_offset = 0x1000, .data_offset = 0x2000, .opcode = 0x103});
  EXPECT_EQ(state_.fx.fip, 0x1000u);
  EXPECT_EQ(state_.fx.fdp, 0u);
  EXPECT_EQ(state_.fx.fop, 0);
}

TEST_F(BorrowedRunTest, OpcodeIsTheLastByteOfTheFirstAndModrm) {
  const Decoded decoded = decode(std::array<u8, 2>{0xdd, 0x1b});
  EXPECT_EQ(borrowed_x87_opcode(decoded.instruction), 0x51b);
}

TEST_F(BorrowedRunTest, EnvironmentHoldsGuestPointersOnly) {
  state_.fx.fip = 0x11112222;
  state_.fx.fdp = 0x33334444;
  state_.fx.fop = 0x123;
  run({0xd9, 0x33});  // fnstenv [rbx]
  EXPECT_EQ(memory_at<u32>(12), 0x11112222u);
  EXPECT_EQ(memory_at<u32>(16), 0x01230000u);
  EXPECT_EQ(memory_at<u32>(20), 0x33334444u);
  EXPECT_EQ(memory_at<u32>(24), 0xffff0000u);
  EXPECT_EQ(state_.fx.fip, 0x11112222u);
}

TEST_F(BorrowedRunTest, SixteenBitRealModeEnvironmentSplitsAddresses) {
  state_.cr0 = 0;
  state_.fx.fip = 0x12345;
  state_.fx.fdp = 0xabcde;
  state_.fx.fop = 0x123;
  run({0xd9, 0x37}, ZYDIS_MACHINE_MODE_REAL_16);  // fnstenv [bx]
  EXPECT_EQ(stub_->memory_size, 14);
  EXPECT_EQ(memory_at<u16>(0), 0x37f);
  EXPECT_EQ(memory_at<u16>(6), 0x2345);
  EXPECT_EQ(memory_at<u16>(8), 0x1123);
  EXPECT_EQ(memory_at<u16>(10), 0xbcde);
  EXPECT_EQ(memory_at<u16>(12), 0xa000);
}

TEST_F(BorrowedRunTest, SavedStateRoundTripsThroughMemory) {
  state_.fx.fip = 0x7777;
  state_.fx.fop = 0x321;
  run({0xd9, 0xeb});  // fldpi
  const auto pi = state_.fx.st[0];
  run({0xdd, 0x33});  // fnsave [rbx]
  EXPECT_EQ(state_.fx.ftw, 0);
  EXPECT_EQ(state_.fx.fip, 0u);
  run({0xdd, 0x23});  // frstor [rbx]
  EXPECT_EQ(state_.fx.ftw, 0x80);
  EXPECT_EQ(state_.fx.st[0], pi);
  EXPECT_EQ(state_.fx.fip, 0x7777u);
  EXPECT_EQ(state_.fx.fop, 0x321);
}

TEST_F(BorrowedRunTest, StubsLeaveUnrelatedFxsaveBytesAlone) {
  run({0x0f, 0x2d, 0xc1});  // cvtps2pi mm0, xmm1
  EXPECT_EQ(state_.fx.unused_xmm, FxsaveArea().unused_xmm);
  EXPECT_EQ(state_.fx.mxcsr_mask, 0xffffu);
  EXPECT_EQ(state_.fx.ftw, 0xff);
}

TEST_F(BorrowedRunTest, MixedMmxConversionRaisesUnmaskedExceptions) {
  state_.fx.mxcsr = kAllMasked & ~(kInvalid << 7);
  state_.ymm[1].qword[0] = 0x7fc000007fc00000;
  EXPECT_EQ(run({0x0f, 0x2d, 0xc1}), BorrowedResult::kSimdException);
  EXPECT_EQ(state_.fx.ftw, 0);
  EXPECT_EQ(state_.fx.mxcsr, (kAllMasked & ~(kInvalid << 7)) | kInvalid);
}

TEST_F(BorrowedRunTest, LegacyKeepsAndVexClearsTheUpperHalf) {
  state_.ymm[0].qword = {1, 2, 3, 4};
  run({0x66, 0x0f, 0xef, 0xc0});  // pxor xmm0, xmm0
  EXPECT_EQ(state_.ymm[0].qword, (std::array<u64, 4>{0, 0, 3, 4}));
  if (!x86::host_features().has(x86::Feature::kAvx)) GTEST_SKIP() << "the host has no AVX";
  run({0xc5, 0xf9, 0xef, 0xc0});  // vpxor xmm0, xmm0, xmm0
  EXPECT_EQ(state_.ymm[0].qword, (std::array<u64, 4>{}));
}

TEST_F(BorrowedRunTest, VexWidthIsIgnoredOutside64BitMode) {
  if (!x86::host_features().has(x86::Feature::kAvx)) GTEST_SKIP() << "the host has no AVX";
  state_.ymm[0].qword[0] = 0x1111222233334444;
  state_.gpr[x86::kRax] = ~u64{0};
  run({0xc4, 0xe1, 0xf9, 0x7e, 0xc0}, ZYDIS_MACHINE_MODE_LEGACY_32);
  EXPECT_EQ(state_.gpr[x86::kRax], 0x33334444u);
}

TEST_F(BorrowedRunTest, SixteenBitModeUsesDefaultOperandSize) {
  state_.gpr[x86::kRax] = 0xaaaabbbbccccdddd;
  state_.gpr[x86::kRcx] = 0x1ffff;
  run({0xf3, 0x0f, 0xb8, 0xc1}, ZYDIS_MACHINE_MODE_REAL_16);  // popcnt ax, cx
  EXPECT_EQ(state_.gpr[x86::kRax], 0xaaaabbbbcccc0010u);
}

TEST_F(BorrowedRunTest, SixteenBitDisplacementIsDropped) {
  memory_[0] = 42;
  run({0x0f, 0x6f, 0x06, 0x34, 0x12}, ZYDIS_MACHINE_MODE_REAL_16);  // movq mm0, [1234h]
  EXPECT_EQ(state_.fx.st[0][0], 42);
}

TEST_F(BorrowedRunTest, EnabledBytesFollowTheMask) {
  if (!x86::host_features().has(x86::Feature::kAvx2)) GTEST_SKIP() << "the host has no AVX2";
  state_.ymm[1].qword = {0x80000000'00000000, 0x00000000'ffffffff, 0, 0x80000000'80000000};
  const BorrowedStub* store = make({0xc4, 0xe2, 0x75, 0x2e, 0x03});  // vmaskmovps [rbx], ymm1, ymm0
  ASSERT_NE(store, nullptr);
  EXPECT_TRUE(store->is_masked);
  EXPECT_EQ(borrowed_enabled_bytes(*store, state_), 0xff000ff0u);
}

TEST_F(BorrowedRunTest, MmxMaskCountsFromTheTopOfStack) {
  state_.fx.fsw = 3 << 11;
  state_.fx.st[6][7] = 0x80;                             // MM1 = physical 1 = ST(6)
  const BorrowedStub* store = make({0x0f, 0xf7, 0xc1});  // maskmovq mm0, mm1
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(borrowed_enabled_bytes(*store, state_), 0x80u);
}

TEST_F(BorrowedRunTest, VzeroTouchesEightRegistersOutside64BitMode) {
  for (Ymm& ymm : state_.ymm) ymm.qword = {1, 2, 3, 4};
  zero_upper_vectors(state_, false);
  EXPECT_EQ(state_.ymm[7].qword, (std::array<u64, 4>{1, 2, 0, 0}));
  EXPECT_EQ(state_.ymm[8].qword, (std::array<u64, 4>{1, 2, 3, 4}));
  zero_all_vectors(state_, true);
  EXPECT_EQ(state_.ymm[15].qword, (std::array<u64, 4>{}));
}

TEST_F(BorrowedRunTest, ReportsAlignment) {
  EXPECT_EQ(make({0x66, 0x0f, 0x58, 0x03})->alignment, 16);          // addpd xmm0, [rbx]
  EXPECT_EQ(make({0xf2, 0x0f, 0x58, 0x03})->alignment, 1);           // addsd xmm0, [rbx]
  EXPECT_EQ(make({0x0f, 0x10, 0x03})->alignment, 1);                 // movups xmm0, [rbx]
  EXPECT_EQ(make({0x66, 0x0f, 0x3a, 0x63, 0x03, 0})->alignment, 1);  // pcmpistri xmm0, [rbx], 0
  EXPECT_EQ(make({0x0f, 0x6f, 0x03})->alignment, 1);                 // movq mm0, [rbx]
  if (!x86::host_features().has(x86::Feature::kAvx)) GTEST_SKIP() << "the host has no AVX";
  EXPECT_EQ(make({0xc5, 0xfc, 0x28, 0x03})->alignment, 32);  // vmovaps ymm0, [rbx]
  EXPECT_EQ(make({0xc5, 0xfd, 0x58, 0x03})->alignment, 1);   // vaddpd ymm0, ymm0, [rbx]
}

TEST_F(BorrowedRunTest, ReportsWhichStateIsNeeded) {
  const BorrowedStub* scalar = make({0xf2, 0x0f, 0x2d, 0x03});  // cvtsd2si eax, [rbx]
  EXPECT_TRUE(scalar->uses_sse);
  EXPECT_TRUE(scalar->may_raise_simd);
  const BorrowedStub* popcnt = make({0xf3, 0x0f, 0xb8, 0x03});
  EXPECT_FALSE(popcnt->uses_sse);
  EXPECT_TRUE(popcnt->writes_flags);
  EXPECT_TRUE(make({0x0f, 0x77})->uses_mmx);
  EXPECT_TRUE(make({0xda, 0xc1})->reads_flags);  // fcmovb
}

TEST_F(BorrowedRunTest, RefusesWhatTheInterpreterDoesItself) {
  EXPECT_EQ(make({0x0f, 0xae, 0x03}), nullptr);                    // fxsave
  EXPECT_EQ(make({0x0f, 0xae, 0x13}), nullptr);                    // ldmxcsr
  EXPECT_EQ(make({0x0f, 0xae, 0x23}), nullptr);                    // xsave
  EXPECT_EQ(make({0xc5, 0xf8, 0x77}), nullptr);                    // vzeroupper
  EXPECT_EQ(make({0x0f, 0x18, 0x0b}), nullptr);                    // prefetcht0
  EXPECT_EQ(make({0x0f, 0xae, 0xf0}), nullptr);                    // mfence
  EXPECT_EQ(make({0x48, 0x01, 0xd8}), nullptr);                    // add
  EXPECT_EQ(make({0x0f, 0x01, 0xd0}), nullptr);                    // xgetbv
  EXPECT_EQ(make({0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0}), nullptr);  // AVX-512 vaddps
  EXPECT_EQ(make({0xc4, 0xe2, 0x69, 0x92, 0x04, 0x0b}), nullptr);  // vgatherdps
  const Decoded gather = decode(std::array<u8, 6>{0xc4, 0xe2, 0x69, 0x92, 0x04, 0x0b});
  EXPECT_TRUE(is_gather(gather.instruction));
  EXPECT_FALSE(code_.is_full());
}

TEST_F(BorrowedRunTest, AddressesDoNotMakeNewStubs) {
  EXPECT_EQ(make({0x0f, 0x10, 0x03}), make({0x0f, 0x10, 0x84, 0x8b, 1, 2, 3, 4}));
  EXPECT_EQ(code_.stub_count(), 1u);
  EXPECT_NE(make({0x0f, 0x10, 0x03}), make({0x0f, 0x10, 0x0b}));
}

TEST_F(BorrowedRunTest, NamingRspIsNotNamingItsSubstitute) {
  EXPECT_NE(make({0xf3, 0x0f, 0xb8, 0xdc}), make({0xf3, 0x0f, 0xb8, 0xd8}));  // popcnt ebx, esp / eax
}

}  // namespace
}  // namespace doppel
