// What random cases rarely hit: operands over the end of what their address size can say, operands that are
// wrong in two ways at once, save areas that begin where nothing is. The interpreter against the host.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/differential/compare.h"
#include "tests/differential/coverage.h"
#include "tests/differential/decode.h"
#include "tests/differential/engines.h"
#include "tests/differential/layout.h"
#include "tests/differential/native_backend.h"
#include "tests/differential/random.h"
#include "x86/registers.h"

namespace doppel::differential {
namespace {

using testing::IsEmpty;

// Opcode bytes up to ModRM, whose reg field and immediate follow; `size` of the operand in bytes.
struct Sample {
  const char* name;
  std::vector<u8> opcode;
  u8 reg;
  unsigned size;
  std::vector<u8> immediate = {};
};

// Both backends have fixed addresses: one of each in the process.
class Pair {
 public:
  static Pair& get() {
    static Pair pair;
    return pair;
  }
  bool is_possible() const { return native_ != nullptr && engine_ != nullptr; }

  void place(const std::vector<u8>& bytes, bool is_compat) {
    Placement placement;
    std::ranges::copy(bytes, placement.bytes.begin());
    placement.length = static_cast<u8>(bytes.size());
    placement.address = kCodeBase + 0x800;
    placement.is_compat = is_compat;
    native_->place(placement);
    engine_->place(placement);
    Instruction instruction;
    ASSERT_TRUE(Decoder(is_compat).decode(placement.code(), instruction));
    mask_ = Mask::of(instruction, is_compat);
    rip_ = placement.address;
  }

  // What differs.
  std::vector<std::string> run(UserState state, std::span<const u8> memory) {
    state.rip = rip_;
    state.rflags = x86::kFlagReserved1 | x86::kFlagIf;
    Outcome expected;
    Outcome got;
    native_->run(state, memory, expected);
    const std::vector<u8> window(native_->window().begin(), native_->window().end());
    engine_->run(state, memory, got);
    return differences({expected, window}, {got, engine_->window()}, mask_);
  }

 private:
  Pair() {
    if (auto native = NativeBackend::create()) native_ = std::move(*native);
    if (auto engine = create_interpreter_backend()) engine_ = std::move(*engine);
  }

  std::unique_ptr<NativeBackend> native_;
  std::unique_ptr<Backend> engine_;
  Mask mask_;
  u64 rip_ = 0;
};

UserState random_state(Random& random) {
  UserState state;
  FxsaveArea& fx = state.xsave.legacy;
  random.fill({fx.unused_xmm[0].data(), 256}, Style::kInteger);
  random.fill({state.xsave.ymm_high[0].data(), 256}, Style::kInteger);
  for (auto& st : fx.st) random.x87(std::span<u8, 10>(st.data(), 10));
  fx.fcw = 0x37f;
  fx.ftw = 0xff;
  fx.mxcsr = 0x1f80;
  state.gpr[x86::kRsp] = kStackBase + 0x800;
  return state;
}

std::string describe_case(const Sample& sample, unsigned before, u64 base) {
  return fmt::format("{}, {} bytes before the end, base {:#x}: ", sample.name, before, base);
}

class Edges : public testing::Test {
 protected:
  void SetUp() override {
    if (!Pair::get().is_possible()) GTEST_SKIP() << "this host's kernel does not enable FSGSBASE";
    if (!host_is_amd())
      GTEST_SKIP() << "known for AMD's processors only; random cases leave it open elsewhere";
  }
  void expect_same(const std::string& what, const UserState& state, std::span<const u8> memory) {
    for (const std::string& line : Pair::get().run(state, memory)) complaints_.push_back(what + line);
  }
  std::vector<std::string> complaints_;
};

// --- Address sizes. SDM 3A 5.3 leaves it open what becomes of an operand that reaches over the end.

const Sample kOperands[] = {
    {"mov load", {0x8b}, 0, 4},
    {"mov store", {0x89}, 0, 4},
    {"lock add", {0xf0, 0x01}, 0, 4},
    {"cmpxchg8b", {0x0f, 0xc7}, 1, 8},
    {"movups load", {0x0f, 0x10}, 0, 16},
    {"movups store", {0x0f, 0x11}, 0, 16},
    {"vmovups load", {0xc5, 0xfc, 0x10}, 0, 32},
    {"vmovups store", {0xc5, 0xfc, 0x11}, 0, 32},
    {"vmaskmovps xmm load", {0xc4, 0xe2, 0x71, 0x2c}, 0, 16},
    {"vmaskmovps load", {0xc4, 0xe2, 0x75, 0x2c}, 0, 32},
    {"vmaskmovps xmm store", {0xc4, 0xe2, 0x71, 0x2e}, 0, 16},
    {"vmaskmovps store", {0xc4, 0xe2, 0x75, 0x2e}, 0, 32},
    {"vmaskmovpd xmm load", {0xc4, 0xe2, 0x71, 0x2d}, 0, 16},
    {"vmaskmovpd load", {0xc4, 0xe2, 0x75, 0x2d}, 0, 32},
    {"vmaskmovpd xmm store", {0xc4, 0xe2, 0x71, 0x2f}, 0, 16},
    {"vmaskmovpd store", {0xc4, 0xe2, 0x75, 0x2f}, 0, 32},
    {"vpmaskmovd load", {0xc4, 0xe2, 0x75, 0x8c}, 0, 32},
    {"vpmaskmovd store", {0xc4, 0xe2, 0x75, 0x8e}, 0, 32},
    {"vpmaskmovq load", {0xc4, 0xe2, 0xf5, 0x8c}, 0, 32},
    {"vpmaskmovq store", {0xc4, 0xe2, 0xf5, 0x8e}, 0, 32},
    {"fld m80", {0xdb}, 5, 10},
    {"fstp m80", {0xdb}, 7, 10},
    {"fbld", {0xdf}, 4, 10},
    {"fbstp", {0xdf}, 6, 10},
    {"vinsertf128", {0xc4, 0xe3, 0x7d, 0x18}, 0, 16, {1}},
    {"vcvtps2ph", {0xc4, 0xe3, 0x7d, 0x1d}, 0, 16, {0}},
};

const Sample kRegisterOperands[] = {
    {"maskmovq", {0x0f, 0xf7}, 0xc1, 8},
    {"maskmovdqu", {0x66, 0x0f, 0xf7}, 0xc1, 16},
    {"vmaskmovdqu", {0xc5, 0xf9, 0xf7}, 0xc1, 16},
};

const Sample kBound = {"bound", {0x62}, 0, 8};

enum class Mode : u8 { kCompat16, kCompat32, kLong32 };

std::vector<u8> encode(const Sample& sample, Mode mode) {
  std::vector<u8> bytes = {0x65};
  if (mode != Mode::kCompat32) bytes.push_back(0x67);
  bytes.insert(bytes.end(), sample.opcode.begin(), sample.opcode.end());
  // [bx], [ebx]; or two registers, with [di] or [edi] implied.
  const unsigned rm = mode == Mode::kCompat16 ? 7 : 3;
  bytes.push_back(static_cast<u8>(sample.reg >= 0xc0 ? sample.reg : sample.reg << 3 | rm));
  bytes.insert(bytes.end(), sample.immediate.begin(), sample.immediate.end());
  return bytes;
}

class AddressSize : public Edges {
 protected:
  // With the bytes before the end in the window, and with those that wrap there.
  void run(const Sample& sample, Mode mode) {
    Pair::get().place(encode(sample, mode), mode != Mode::kLong32);
    const u64 end = mode == Mode::kCompat16 ? 0x10000 : u64{1} << 32;
    Random random(1);
    std::vector<u8> memory(kDataSize);
    for (unsigned before = 1; before < sample.size; ++before) {
      for (int round = 0; round < 12; ++round) {
        random.fill(memory, Style::kInteger);
        UserState state = random_state(random);
        state.gpr[x86::kRbx] = state.gpr[x86::kRdi] = end - before;
        state.gs_base = kDataBase + 0x800 - (round % 2 == 0 ? end : 0);
        if (mode != Mode::kLong32) state.gs_base &= 0xffffffff;
        expect_same(describe_case(sample, before, state.gs_base), state, memory);
      }
    }
  }
  void run_all(Mode mode) {
    for (const Sample& sample : kOperands) run(sample, mode);
    for (const Sample& sample : kRegisterOperands) run(sample, mode);
    if (mode != Mode::kLong32) run(kBound, mode);
    EXPECT_THAT(complaints_, IsEmpty());
  }
};

TEST_F(AddressSize, OperandsOverTheEndOf16Bits) { run_all(Mode::kCompat16); }
TEST_F(AddressSize, OperandsOverTheEndOf32BitsIn32BitCode) { run_all(Mode::kCompat32); }
TEST_F(AddressSize, OperandsOverTheEndOf32BitsIn64BitCode) { run_all(Mode::kLong32); }

// --- Neither aligned nor canonical: which is reported, by a stack access's #SS and alignment's #GP.

const Sample kAligned[] = {
    {"movaps load", {0x0f, 0x28}, 0, 16},
    {"movaps store", {0x0f, 0x29}, 0, 16},
    {"pminsw", {0x66, 0x0f, 0xea}, 0, 16},
    {"movntps", {0x0f, 0x2b}, 0, 16},
    {"vmovaps store", {0xc5, 0xfc, 0x29}, 0, 32},
    {"vmovntdqa", {0xc4, 0xe2, 0x7d, 0x2a}, 0, 32},
    {"cmpxchg16b", {0x48, 0x0f, 0xc7}, 1, 16},
    {"fxsave", {0x0f, 0xae}, 0, 512},
    {"fxrstor", {0x0f, 0xae}, 1, 512},
    {"xsave", {0x0f, 0xae}, 4, 576},
    {"xrstor", {0x0f, 0xae}, 5, 576},
    {"xsavec", {0x0f, 0xc7}, 4, 576},
    {"movups load", {0x0f, 0x10}, 0, 16},
    {"vmovups load", {0xc5, 0xfc, 0x10}, 0, 32},
};

TEST_F(Edges, NeitherAlignedNorCanonical) {
  Random random(2);
  const std::vector<u8> memory(kDataSize);
  for (const Sample& sample : kAligned) {
    std::vector<u8> bytes = sample.opcode;
    bytes.push_back(static_cast<u8>(0x40 | sample.reg << 3 | x86::kRbp));
    bytes.push_back(0);
    Pair::get().place(bytes, false);
    for (const u64 address :
         {u64{0x0000'8000'0000'0000}, u64{0x0000'8000'0000'0001}, u64{0xffff'7fff'ffff'fff1},
          u64{0xffff'7fff'ffff'ff80}, u64{0x1234'5678'9abc'def1}, u64{1} << 63}) {
      UserState state = random_state(random);
      state.gpr[x86::kRax] = 7;
      state.gpr[x86::kRdx] = 0;
      state.gpr[x86::kRbp] = address;
      expect_same(fmt::format("{} at {:#x}: ", sample.name, address), state, memory);
    }
  }
  EXPECT_THAT(complaints_, IsEmpty());
}

// --- Save areas of which little is asked for

TEST_F(Edges, SaveAreaThatBeginsWhereNothingIs) {
  Random random(3);
  const std::vector<u8> memory(kDataSize);
  for (const Sample& sample : {Sample{"xsave", {0x0f, 0xae}, 4, 0}, Sample{"xsaveopt", {0x0f, 0xae}, 6, 0},
                               Sample{"xsavec", {0x0f, 0xc7}, 4, 0}, Sample{"xrstor", {0x0f, 0xae}, 5, 0}}) {
    std::vector<u8> bytes = sample.opcode;
    bytes.push_back(static_cast<u8>(sample.reg << 3 | x86::kRbx));
    Pair::get().place(bytes, false);
    for (unsigned before = 64; before <= 576; before += 64) {
      for (unsigned components = 0; components < 8; ++components) {
        UserState state = random_state(random);
        state.gpr[x86::kRax] = components;
        state.gpr[x86::kRdx] = 0;
        state.gpr[x86::kRbx] = kDataBase - before;
        expect_same(fmt::format("{} of {}, {} bytes before the window: ", sample.name, components, before),
                    state, memory);
      }
    }
  }
  EXPECT_THAT(complaints_, IsEmpty());
}

// --- VCVTPS2PH: MXCSR.PE of denormals whose underflow is not masked

TEST_F(Edges, PrecisionOfDenormalsConvertedToHalf) {
  Random random(4);
  const std::vector<u8> memory(kDataSize);
  Pair::get().place({0xc4, 0xe3, 0x7d, 0x1d, 0xc1, 0x04}, false);  // vcvtps2ph xmm1, ymm0, 4
  for (unsigned i = 0; i < 4000; ++i) {
    UserState state = random_state(random);
    for (unsigned lane = 0; lane < 4; ++lane) {
      const u32 kept = ~u32{0} << random.below(23);
      const auto denormal = static_cast<u32>(random.next()) & 0x807fffff & kept;
      std::memcpy(state.xsave.legacy.unused_xmm[0].data() + 4 * lane, &denormal, 4);
    }
    state.xsave.ymm_high[0] = {};
    state.xsave.legacy.mxcsr = 0x0780 | (i & 3) << 13;
    expect_same(fmt::format("case {}: ", i), state, memory);
  }
  EXPECT_THAT(complaints_, IsEmpty());
}

}  // namespace
}  // namespace doppel::differential
