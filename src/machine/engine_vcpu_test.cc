// Changing the engine of a vCPU, with engines that only remember.
#include "machine/engine_vcpu.h"

#include <gtest/gtest.h>

namespace doppel {
namespace {

// An engine that adds one to RIP for each run. Owned by the EngineVcpu under test.
struct FakeEngine final : Vcpu {
  FakeEngine(std::string& journal, std::string engine_name) : log(journal), name(std::move(engine_name)) {}

  Exit run(RunLimit limit) override {
    note(fmt::format("run {}", limit.instructions));
    if (unsupported != 0) return --unsupported, Exit{ExitReason::kUnsupported, {}};
    ++cpu.rip;
    if (steps) return {.reason = ExitReason::kDebug, .detail = {}, .debug = {}};
    return {ExitReason::kHalted, {}};
  }
  u64 instructions_retired() const override { return cpu.instructions_retired; }
  void kick() override { note("kick"); }
  void notify_interrupt() override { ++notified; }
  void notify_nmi() override { note("nmi"); }
  void end_halt() override { note("end_halt"); }
  void save(CpuState& state) override { state = cpu; }
  void load(const CpuState& state) override { cpu = state; }
  Result<void> set_debug(const DebugControl& control) override {
    if (control.breakpoints.size() > most_breakpoints) return fail("engine {}: too many", name);
    note(fmt::format("stops {}", control.breakpoints.size()));
    steps = control.steps;
    return {};
  }
  std::vector<std::pair<std::string_view, u64>> statistics() const override { return {}; }
  void invalidate(GuestPhys address, u64 size) override {
    if (size != 0) note(fmt::format("invalidate {:x}+{:x}", address.value(), size));
  }
  void note(const std::string& what) { log += name + " " + what + "; "; }

  std::string& log;
  std::string name;
  CpuState cpu;
  unsigned unsupported = 0;
  unsigned notified = 0;
  std::size_t most_breakpoints = 100;
  bool steps = false;
};

class EngineVcpuTest : public testing::Test {
 protected:
  EngineMaker maker(const char* name, FakeEngine*& made) {
    return [this, name, &made]() -> Result<std::unique_ptr<Vcpu>> {
      auto engine = std::make_unique<FakeEngine>(log_, name);
      made = engine.get();
      return engine;
    };
  }

  std::string log_;
  FakeEngine* interp_ = nullptr;
  FakeEngine* kvm_ = nullptr;
  std::unique_ptr<GuestMemory> memory_ = std::move(*GuestMemory::create(2 * kMiB));
  EngineVcpu vcpu_{*memory_, {maker("interp", interp_), EngineMaker(), maker("kvm", kvm_)}};
};

TEST_F(EngineVcpuTest, CarriesTheStateOver) {
  ASSERT_TRUE(vcpu_.switch_to(Engine::kInterp));
  CpuState state;
  state.rip = 100;
  vcpu_.load(state);
  vcpu_.run({.instructions = 5});
  ASSERT_TRUE(vcpu_.switch_to(Engine::kKvm));
  vcpu_.run({.instructions = 6});
  vcpu_.save(state);
  EXPECT_EQ(state.rip, 102u);
  EXPECT_EQ(log_, "interp run 5; kvm invalidate 0+200000; kvm run 6; ");
}

TEST_F(EngineVcpuTest, ForgetsWhatWasDecodedBeforeKvmRan) {
  ASSERT_TRUE(vcpu_.switch_to(Engine::kKvm));
  ASSERT_TRUE(vcpu_.switch_to(Engine::kInterp));
  EXPECT_EQ(log_, "interp invalidate 0+200000; ");
}

TEST_F(EngineVcpuTest, LooksForInterruptsAfterAChange) {
  ASSERT_TRUE(vcpu_.switch_to(Engine::kInterp));
  ASSERT_TRUE(vcpu_.switch_to(Engine::kKvm));
  EXPECT_EQ(kvm_->notified, 1u);
}

TEST_F(EngineVcpuTest, KeepsAnEngineThatComesBack) {
  ASSERT_TRUE(vcpu_.switch_to(Engine::kKvm));
  const FakeEngine* first = kvm_;
  ASSERT_TRUE(vcpu_.switch_to(Engine::kInterp));
  ASSERT_TRUE(vcpu_.switch_to(Engine::kKvm));
  EXPECT_EQ(kvm_, first);
}

TEST_F(EngineVcpuTest, TheInterpreterExecutesWhatAnotherEngineCannot) {
  ASSERT_TRUE(vcpu_.switch_to(Engine::kKvm));
  kvm_->unsupported = 1;
  EXPECT_EQ(vcpu_.run({.instructions = 9}).reason, ExitReason::kHalted);
  EXPECT_EQ(log_, "kvm run 9; interp invalidate 0+200000; interp run 1; kvm run 9; ");
  CpuState state;
  vcpu_.save(state);
  EXPECT_EQ(state.rip, 2u);
  EXPECT_EQ(vcpu_.engine(), Engine::kKvm);
}

TEST_F(EngineVcpuTest, AStepIsTheInterpreters) {
  ASSERT_TRUE(vcpu_.switch_to(Engine::kKvm));
  ASSERT_TRUE(vcpu_.set_debug({.breakpoints = {}, .watchpoints = {}, .steps = true}));
  kvm_->unsupported = 1;
  EXPECT_EQ(vcpu_.run({.instructions = 9}).reason, ExitReason::kDebug);
  EXPECT_EQ(
      log_,
      "kvm stops 0; kvm run 9; interp invalidate 0+200000; interp stops 0; interp run 1; interp stops 0; ");
}

TEST_F(EngineVcpuTest, AStepOverABreakpointIsNotReported) {
  ASSERT_TRUE(vcpu_.switch_to(Engine::kKvm));
  ASSERT_TRUE(vcpu_.set_debug({.breakpoints = {GuestVirt(1)}, .watchpoints = {}}));
  kvm_->unsupported = 1;
  EXPECT_EQ(vcpu_.run({.instructions = 9}).reason, ExitReason::kHalted);
  EXPECT_EQ(kvm_->cpu.rip, 2u);
}

TEST_F(EngineVcpuTest, TheInterpreterRunsWhileTheChosenEngineCannotStop) {
  ASSERT_TRUE(vcpu_.switch_to(Engine::kKvm));
  kvm_->most_breakpoints = 1;
  ASSERT_TRUE(vcpu_.set_debug({.breakpoints = {GuestVirt(1), GuestVirt(2)}, .watchpoints = {}}));
  vcpu_.run({.instructions = 9});
  EXPECT_EQ(vcpu_.engine(), Engine::kKvm);
  ASSERT_TRUE(vcpu_.set_debug({}));
  vcpu_.run({.instructions = 9});
  EXPECT_EQ(log_,
            "interp stops 2; interp invalidate 0+200000; interp run 9; "
            "kvm stops 0; interp stops 0; kvm invalidate 0+200000; kvm run 9; ");
}

TEST_F(EngineVcpuTest, StopsComeAlongWithAChangeOfEngine) {
  ASSERT_TRUE(vcpu_.switch_to(Engine::kInterp));
  ASSERT_TRUE(vcpu_.set_debug({.breakpoints = {GuestVirt(1)}, .watchpoints = {}}));
  log_.clear();
  ASSERT_TRUE(vcpu_.switch_to(Engine::kKvm));
  EXPECT_EQ(log_, "kvm stops 1; interp stops 0; kvm invalidate 0+200000; ");
}

TEST(EngineVcpu, StaysWhereItIsWhenTheOtherEngineIsNotThere) {
  const std::unique_ptr<GuestMemory> memory = std::move(*GuestMemory::create(2 * kMiB));
  std::string log;
  EngineVcpu vcpu(*memory, {[&] { return std::make_unique<FakeEngine>(log, "interp"); }, nullptr});
  ASSERT_TRUE(vcpu.switch_to(Engine::kInterp));
  const Result<void> switched = vcpu.switch_to(Engine::kKvm);
  ASSERT_FALSE(switched);
  EXPECT_EQ(switched.error().message, "engine kvm: the machine was made without it");
  EXPECT_EQ(vcpu.engine(), Engine::kInterp);
}

}  // namespace
}  // namespace doppel
