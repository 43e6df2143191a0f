// What a saved vCPU brings back, and what is refused of one that nobody has checked.
#include "cpu/cpu_state.h"

#include <gtest/gtest.h>

#include "state/state_buffer.h"

namespace doppel {
namespace {

std::vector<u8> save(CpuState state) {
  StateSaver saver;
  state.visit_state(saver);
  return saver.take();
}

Result<CpuState> load(const std::vector<u8>& saved) {
  CpuState state;
  StateLoader loader(saved);
  state.visit_state(loader);
  TRY_VOID(loader.finish());
  return state;
}

TEST(CpuState, ATrapThatIsHeldBackSurvives) {
  CpuState state;
  state.shadow = kShadowMovSs;
  state.pending_debug = x86::kDr6Bs;
  const auto loaded = load(save(state));
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->pending_debug, x86::kDr6Bs);
  EXPECT_EQ(loaded->shadow, kShadowMovSs);
}

TEST(CpuState, ReservedBitsOfMxcsrAreRefused) {
  CpuState state;
  state.fx.mxcsr = 0x11f80;
  EXPECT_FALSE(load(save(state)).has_value());
}

TEST(CpuState, AMaskThatAllowsReservedBitsOfMxcsrIsRefused) {
  CpuState state;
  state.fx.mxcsr_mask = 0xffffffff;
  EXPECT_FALSE(load(save(state)).has_value());
}

TEST(CpuState, UnknownDebugTrapsAreRefused) {
  CpuState state;
  state.pending_debug = u64{1} << 40;
  EXPECT_FALSE(load(save(state)).has_value());
}

TEST(CpuState, UnknownActivityIsRefused) {
  CpuState state;
  state.activity = static_cast<Activity>(9);
  EXPECT_FALSE(load(save(state)).has_value());
}

TEST(CpuState, InitKeepsVectorsAndResetDoesNot) {
  CpuState state;
  state.ymm[3].qword[1] = 7;
  state.pending_debug = x86::kDr6Bs;
  CpuState initialised = state;
  reset_cpu_state(initialised, 0x661, true);
  EXPECT_EQ(initialised.ymm[3].qword[1], 7u);
  EXPECT_EQ(initialised.pending_debug, 0u);
  EXPECT_EQ(initialised.gpr[x86::kRdx], 0x661u);
  reset_cpu_state(state, 0x661, false);
  EXPECT_EQ(state.ymm[3].qword[1], 0u);
}

}  // namespace
}  // namespace doppel
