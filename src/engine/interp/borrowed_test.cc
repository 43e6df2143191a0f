// Borrowed stubs against the same bytes run directly on the host.
#include "engine/interp/borrowed.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "base/verify.h"
#include "engine/interp/borrowed_decode_test.h"
#include "engine/interp/borrowed_native_test.h"

namespace doppel {
namespace {

using test::decode;
using test::Decoded;
using test::NativeRegisters;
using test::NativeRunner;
using x86::Feature;

constexpr u64 kFlagsMask = x86::kArithmeticFlags;

// Interesting floating-point and integer patterns mixed with noise.
u64 random_value(std::mt19937_64& random) {
  static constexpr u64 kPatterns[] = {0,
                                      ~u64{0},
                                      0x3ff0000000000000,
                                      0x7ff0000000000000,
                                      0xfff8000000000001,
                                      0x7ff0000000000001,
                                      0x0000000000000001,
                                      0x3f8000003f800000,
                                      0x7f800001ff800000,
                                      0x0000000180000000,
                                      0x41dfffffffc00000,
                                      0x4330000000000001};
  const u64 value = random();
  return value % 3 == 0 ? kPatterns[(value >> 8) % std::size(kPatterns)] : random();
}

// One stub against one native run from the same random state, with a memory operand at [rbx] or [rdi].
class BorrowedTest : public testing::Test {
 protected:
  static constexpr size_t kOperandSize = 128;

  BorrowedTest() : code_(std::move(*BorrowedCode::create())) {}

  const BorrowedStub* make(const Decoded& decoded) {
    if (!decoded.is_valid) return nullptr;
    return code_.make(decoded.instruction, decoded.visible_and_hidden(), decoded.code());
  }

  void randomise(bool with_empty_x87) {
    registers_ = {};
    for (u64& gpr : registers_.gpr) gpr = random_value(random_);
    for (Ymm& ymm : registers_.ymm) {
      for (u64& qword : ymm.qword) qword = random_value(random_);
    }
    for (auto& st : registers_.fx.st) {
      const u64 mantissa = random_() | u64{1} << 63;
      const auto exponent = static_cast<u16>((random_() & 0x8000) | (0x3fc0 + random_() % 0x80));
      std::memcpy(st.data(), &mantissa, 8);
      std::memcpy(st.data() + 8, &exponent, 2);
    }
    registers_.fx.ftw = with_empty_x87 ? static_cast<u8>(random_()) : 0xff;
    registers_.fx.fsw = static_cast<u16>(random_() & 0x7f7f & ~0x3f);
    registers_.fx.fcw = static_cast<u16>(0x037f | (random_() & 0x0c00));
    registers_.flags = 2 | (random_() & kFlagsMask);
    registers_.mxcsr = 0x1f80 | static_cast<u32>(random_() & 0xe03f);
    registers_.fx.mxcsr = registers_.mxcsr;
    for (size_t i = 0; i < kOperandSize; i += 8) {
      const u64 value = random_value(random_);
      std::memcpy(operand_ + i, &value, 8);
    }
    registers_.gpr[x86::kRbx] = reinterpret_cast<u64>(operand_);
  }

  // An image that FLDENV, FRSTOR accept without leaving an exception pending, FLDCW a masked control word.
  void tame_operand(const BorrowedStub& stub, const Decoded& decoded) {
    const bool is_control = decoded.instruction.mnemonic == ZYDIS_MNEMONIC_FLDCW;
    if (stub.x87_image != X87Image::kLoad && !is_control) return;
    const u16 control = 0x037f;
    std::memcpy(operand_, &control, 2);
    operand_[stub.memory_size == 28 || stub.memory_size == 108 ? 4 : 2] &= 0x40;
  }

  CpuState borrowed_state() const {
    CpuState state;
    state.cr0 = x86::kCr0Pe;
    state.gpr = registers_.gpr;
    state.ymm = registers_.ymm;
    state.fx = registers_.fx;
    return state;
  }

  void compare_once(const BorrowedStub& stub, const Decoded& decoded, bool with_empty_x87) {
    randomise(with_empty_x87);
    tame_operand(stub, decoded);
    if (stub.is_masked && stub.mask_element_size == 1) {
      registers_.gpr[x86::kRdi] = reinterpret_cast<u64>(operand_);
    }
    std::array<u8, kOperandSize> before;
    std::memcpy(before.data(), operand_, kOperandSize);
    CpuState state = borrowed_state();
    u64 flags = registers_.flags | x86::kFlagIf;
    const BorrowedResult result = run_borrowed(stub, state, operand_, &flags);
    ASSERT_EQ(result, BorrowedResult::kDone) << decoded.text();
    std::array<u8, kOperandSize> stored;
    std::memcpy(stored.data(), operand_, kOperandSize);

    std::memcpy(operand_, before.data(), kOperandSize);
    native_.run(decoded.code(), registers_);
    compare(stub, decoded, state, flags, stored);
  }

  void compare(const BorrowedStub& stub, const Decoded& decoded, const CpuState& state, u64 flags,
               const std::array<u8, kOperandSize>& stored) {
    EXPECT_EQ(state.gpr, registers_.gpr) << decoded.text();
    EXPECT_EQ(std::memcmp(&state.ymm, &registers_.ymm, sizeof state.ymm), 0) << decoded.text();
    EXPECT_EQ(flags & kFlagsMask, registers_.flags & kFlagsMask) << decoded.text();
    EXPECT_EQ(flags & x86::kFlagIf, x86::kFlagIf) << decoded.text();
    EXPECT_EQ(state.fx.mxcsr, registers_.mxcsr) << decoded.text();
    EXPECT_EQ(state.fx.fcw, registers_.fx.fcw) << decoded.text();
    EXPECT_EQ(state.fx.fsw, registers_.fx.fsw) << decoded.text();
    EXPECT_EQ(state.fx.ftw, registers_.fx.ftw) << decoded.text();
    EXPECT_EQ(state.fx.st, registers_.fx.st) << decoded.text();
    compare_instruction_pointer(stub, decoded);
    if (stub.x87_image == X87Image::kStore) return;  // pointers differ; tested apart
    EXPECT_EQ(std::memcmp(stored.data(), operand_, kOperandSize), 0) << decoded.text();
  }

  // Intel processors keep FIP whether or not an exception is pending.
  void compare_instruction_pointer(const BorrowedStub& stub, const Decoded& decoded) {
    if (!__builtin_cpu_is("intel") || stub.x87_pointers == X87Pointers::kLoaded) return;
    const bool is_updated = stub.x87_pointers == X87Pointers::kUpdated;
    EXPECT_EQ(registers_.fx.fip, is_updated ? native_.instruction_address() : 0) << decoded.text();
  }

  // Every ModRM with a register operand or the memory operand [rbx] behind `prefix`.
  void sweep(std::vector<u8> prefix) {
    prefix.resize(prefix.size() + 3, 0x05);
    u8& modrm = prefix[prefix.size() - 3];
    for (unsigned value = 0; value < 256; ++value) {
      if (value < 0xc0 && (value & 0xc7) != 3) continue;
      modrm = static_cast<u8>(value);
      const Decoded decoded = decode(prefix);
      const BorrowedStub* stub = make(decoded);
      if (stub == nullptr) continue;
      covered_[ZydisMnemonicGetString(decoded.instruction.mnemonic)] += 1;
      compare_once(*stub, decoded, (value & 1) != 0);
    }
    if (code_.is_full()) code_.clear();
  }

  alignas(64) static inline u8 operand_[kOperandSize];
  BorrowedCode code_;
  NativeRunner native_;
  NativeRegisters registers_;
  std::mt19937_64 random_{12345};
  std::map<std::string, unsigned> covered_;
};

void require_avx2() {
  if (!x86::host_features().has(Feature::kAvx2)) GTEST_SKIP() << "the host has no AVX2";
}

TEST_F(BorrowedTest, X87InstructionsEqualTheHost) {
  require_avx2();
  for (unsigned opcode = 0xd8; opcode <= 0xdf; ++opcode) sweep({static_cast<u8>(opcode)});
  EXPECT_GT(covered_.size(), 80u);
}

TEST_F(BorrowedTest, LegacyVectorInstructionsEqualTheHost) {
  require_avx2();
  static constexpr unsigned kPrefixes[] = {0, 0x66, 0xf2, 0xf3};
  for (const unsigned prefix : kPrefixes) {
    for (const unsigned rex : {0u, 0x4cu}) {
      for (unsigned opcode = 0; opcode < 3 * 256; ++opcode) {
        if (opcode == 0x38 || opcode == 0x3a) continue;  // escapes to the other maps
        std::vector<u8> bytes;
        if (prefix != 0) bytes.push_back(static_cast<u8>(prefix));
        if (rex != 0) bytes.push_back(static_cast<u8>(rex));
        bytes.push_back(0x0f);
        if (opcode >= 256) bytes.push_back(opcode < 512 ? 0x38 : 0x3a);
        bytes.push_back(static_cast<u8>(opcode));
        sweep(bytes);
      }
    }
  }
  EXPECT_GT(covered_.size(), 240u);
}

TEST_F(BorrowedTest, VexInstructionsEqualTheHost) {
  require_avx2();
  for (unsigned map = 1; map <= 3; ++map) {
    for (unsigned low = 0; low < 16; ++low) {  // W, L, pp
      for (const unsigned vvvv : {15u, 11u}) {
        const unsigned last = (low & 8) << 4 | vvvv << 3 | (low & 7);
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
          sweep({0xc4, static_cast<u8>(0xe0 | map), static_cast<u8>(last), static_cast<u8>(opcode)});
        }
      }
    }
  }
  EXPECT_GT(covered_.size(), 320u);
}

}  // namespace
}  // namespace doppel
