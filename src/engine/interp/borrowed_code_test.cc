// The stub cache under hostile instructions, and the features that instructions need.
#include <gtest/gtest.h>

#include <initializer_list>
#include <random>

#include "engine/interp/borrowed.h"
#include "engine/interp/borrowed_decode_test.h"

namespace doppel {
namespace {

using test::decode;
using test::Decoded;

// Whatever a guest loads into its control and status registers, the host takes no exception of its own.
TEST(BorrowedCode, RandomInstructionsAndControlStateNeverFaultTheHost) {
  static constexpr ZydisMachineMode kModes[] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_MACHINE_MODE_LEGACY_32,
                                                ZYDIS_MACHINE_MODE_REAL_16};
  static constexpr u8 kFirst[] = {0x0f, 0x66, 0xf2, 0xf3, 0xc4, 0xc5, 0xd9, 0xdb, 0xdd, 0xdf, 0x48};
  BorrowedCode code = std::move(*BorrowedCode::create());
  std::mt19937_64 random(7);
  CpuState state;
  alignas(64) std::array<u8, 128> memory = {};
  unsigned run_count = 0;
  for (unsigned i = 0; i < 60'000; ++i) {
    std::array<u8, 16> bytes;
    for (u8& byte : bytes) byte = static_cast<u8>(random());
    bytes[0] = kFirst[bytes[0] % std::size(kFirst)];
    if (bytes[0] == 0x66 || bytes[0] == 0xf2 || bytes[0] == 0xf3 || bytes[0] == 0x48) bytes[1] = 0x0f;
    const Decoded decoded = decode(bytes, kModes[random() % std::size(kModes)]);
    if (!decoded.is_valid) continue;
    const BorrowedStub* stub = code.make(decoded.instruction, decoded.visible_and_hidden(), decoded.code());
    if (stub == nullptr) {
      if (code.is_full()) code.clear();
      continue;
    }
    state.fx.fcw = static_cast<u16>(random());
    state.fx.fsw = static_cast<u16>(random());
    state.fx.mxcsr = static_cast<u32>(random());
    state.ymm[random() % 16].qword = {random(), random(), random(), random()};
    std::memset(memory.data(), static_cast<int>(random() & 0xff), memory.size());
    u64 flags = random();
    run_borrowed(*stub, state, memory.data(), &flags);
    ++run_count;
  }
  EXPECT_GT(run_count, 10'000u);
  EXPECT_EQ(__builtin_ia32_stmxcsr() & ~0x3fu, 0x1f80u);
}

TEST(BorrowedCode, FullBufferIsReportedAndCleared) {
  BorrowedCode code = std::move(*BorrowedCode::create(4096));
  const Decoded decoded = decode(std::array<u8, 3>{0x0f, 0x10, 0x03});
  for (unsigned i = 0; i < 256; ++i) {
    const Decoded shuffle = decode(std::array<u8, 4>{0x0f, 0xc6, 0xc1, static_cast<u8>(i)});
    code.make(shuffle.instruction, shuffle.visible_and_hidden(), shuffle.code());
  }
  EXPECT_TRUE(code.is_full());
  EXPECT_EQ(code.make(decoded.instruction, decoded.visible_and_hidden(), decoded.code()), nullptr);
  code.clear();
  EXPECT_FALSE(code.is_full());
  EXPECT_EQ(code.stub_count(), 0u);
  EXPECT_NE(code.make(decoded.instruction, decoded.visible_and_hidden(), decoded.code()), nullptr);
}

FeatureRequirement requirement(std::initializer_list<u8> bytes) {
  return required_feature(decode(std::span(bytes.begin(), bytes.size())).instruction);
}

TEST(RequiredFeature, MapsInstructionSets) {
  using x86::Feature;
  EXPECT_EQ(requirement({0x48, 0x01, 0xd8}).feature, std::nullopt);
  EXPECT_TRUE(requirement({0x48, 0x01, 0xd8}).is_known);
  EXPECT_EQ(requirement({0xf3, 0x0f, 0xb8, 0xc0}).feature, Feature::kPopcnt);
  EXPECT_EQ(requirement({0x66, 0x0f, 0x38, 0x37, 0xc0}).feature, Feature::kSse42);
  EXPECT_EQ(requirement({0x66, 0x0f, 0x38, 0x17, 0xc0}).feature, Feature::kSse41);
  EXPECT_EQ(requirement({0xc5, 0xf9, 0xef, 0xc0}).feature, Feature::kAvx);
  EXPECT_EQ(requirement({0xc4, 0xe3, 0x79, 0x44, 0xc0, 0}).feature, Feature::kPclmulqdq);
  EXPECT_EQ(requirement({0x0f, 0x01, 0xca}).feature, Feature::kSmap);  // clac
}

TEST(RequiredFeature, KnowsWhatIsNeverOffered) {
  EXPECT_FALSE(requirement({0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0}).is_known);  // AVX-512
  EXPECT_FALSE(requirement({0xc7, 0xf8, 0, 0, 0, 0}).is_known);              // xbegin
  EXPECT_FALSE(requirement({0x0f, 0x01, 0xc1}).is_known);                    // vmcall
  EXPECT_FALSE(requirement({0x0f, 0x01, 0xd8}).is_known);                    // vmrun
}

}  // namespace
}  // namespace doppel
