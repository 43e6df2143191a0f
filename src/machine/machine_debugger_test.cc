// A machine under a debugger, with each engine: real vCPU threads, a guest of a few instructions.
#include "machine/machine_debugger.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <thread>

#include "machine/machine.h"

namespace doppel {
namespace {

constexpr u64 kCode = 0x7000;
constexpr u64 kCounter = 0x500;
// work: inc dword [500h]; jmp work
constexpr auto kCountingGuest = std::to_array<u8>({0x66, 0xff, 0x06, 0x00, 0x05, 0xeb, 0xf9});

class Silent final : public CharacterSink {
 public:
  void put(std::span<const u8>) override {}
};

class MachineDebuggerTest : public testing::TestWithParam<EngineChoice> {
 protected:
  void SetUp() override {
    MachineConfig config;
    config.memory_bytes = 4 * kMiB;
    config.engine = GetParam();
    config.cpu_template = "host";
    Result<std::unique_ptr<Machine>> made = Machine::create_empty(config, console_);
    if (!made) GTEST_SKIP() << made.error().message;
    machine_ = std::move(*made);
    machine_->memory().write(GuestPhys(kCode), kCountingGuest);
    CpuState state;
    reset_cpu_state(state, 0, false);
    state.segment(x86::kCs).base = 0;
    state.segment(x86::kCs).selector = 0;
    state.rip = kCode;
    state.rflags |= x86::kFlagIf;  // Bochs, where this runs too, never interrupts a KVM guest with IF clear
    machine_->vcpu().load(state);
    debugger().set_listener([this](const DebugStop& stop) { heard(stop); });
    debugger().pause();
    runner_ = std::thread([this] { machine_->run(~u64{0}); });
  }
  ~MachineDebuggerTest() override {
    if (!machine_) return;
    machine_->request_quit();
    runner_.join();
  }
  MachineDebugger& debugger() { return machine_->debugger(); }
  void heard(const DebugStop& stop) {
    const std::lock_guard lock(mutex_);
    stops_.push_back(stop);
    changed_.notify_all();
  }
  DebugStop wait_for_stop() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(10), [this] { return !stops_.empty(); });
    EXPECT_FALSE(stops_.empty());
    const DebugStop stop = stops_.empty() ? DebugStop{} : stops_.front();
    stops_.clear();
    return stop;
  }
  u64 rip() {
    DebugRegisters registers;
    EXPECT_TRUE(debugger().read_registers(0, registers));
    return registers.cpu.rip;
  }
  u32 counter() {
    u32 value = 0;
    EXPECT_TRUE(debugger().read_memory(0, GuestVirt(kCounter), {reinterpret_cast<u8*>(&value), 4}));
    return value;
  }

  Silent console_;
  std::unique_ptr<Machine> machine_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<DebugStop> stops_;
  std::thread runner_;
};

TEST_P(MachineDebuggerTest, NothingRunsBeforeItIsLetGo) {
  EXPECT_EQ(rip(), kCode);
  EXPECT_EQ(counter(), 0u);
}

TEST_P(MachineDebuggerTest, StepsOneInstruction) {
  ASSERT_TRUE(debugger().resume({DebugMotion::kStep}));
  EXPECT_EQ(wait_for_stop().hit.cause, DebugCause::kStep);
  EXPECT_EQ(rip(), kCode + 5);
  EXPECT_EQ(counter(), 1u);
}

TEST_P(MachineDebuggerTest, RunsToABreakpointAgainAndAgain) {
  ASSERT_TRUE(debugger().set_stops({.breakpoints = {GuestVirt(kCode + 5)}, .watchpoints = {}}));
  ASSERT_TRUE(debugger().resume({DebugMotion::kContinue}));
  EXPECT_EQ(wait_for_stop().hit.address, GuestVirt(kCode + 5));
  EXPECT_EQ(counter(), 1u);
  ASSERT_TRUE(debugger().resume({DebugMotion::kContinue}));
  wait_for_stop();
  EXPECT_EQ(counter(), 2u);
}

TEST_P(MachineDebuggerTest, WatchpointReportsTheStore) {
  ASSERT_TRUE(
      debugger().set_stops({.breakpoints = {}, .watchpoints = {{GuestVirt(kCounter), 4, false, true}}}));
  ASSERT_TRUE(debugger().resume({DebugMotion::kContinue}));
  EXPECT_EQ(wait_for_stop().hit.cause, DebugCause::kWatchpoint);
  EXPECT_EQ(counter(), 1u);
}

TEST_P(MachineDebuggerTest, PauseStopsARunningMachine) {
  ASSERT_TRUE(debugger().resume({DebugMotion::kContinue}));
  EXPECT_FALSE(debugger().set_stops({}));
  debugger().pause();
  const u32 value = counter();
  EXPECT_EQ(counter(), value);
}

TEST_P(MachineDebuggerTest, WritesRegistersAndMemory) {
  DebugRegisters registers;
  ASSERT_TRUE(debugger().read_registers(0, registers));
  registers.cpu.gpr[x86::kRbx] = 77;
  ASSERT_TRUE(debugger().write_registers(0, registers));
  const u8 byte = 9;
  ASSERT_TRUE(debugger().write_memory(0, GuestVirt(kCounter), {&byte, 1}));
  EXPECT_FALSE(debugger().write_memory(0, GuestVirt(64 * kMiB), {&byte, 1}));
  EXPECT_FALSE(debugger().read_registers(1, registers));
  ASSERT_TRUE(debugger().resume({DebugMotion::kStep}));
  wait_for_stop();
  EXPECT_EQ(counter(), 10u);
}

TEST_P(MachineDebuggerTest, MachineThatIsStoppedCanBeQuit) {
  machine_->request_quit();
  EXPECT_TRUE(wait_for_stop().is_end);
}

TEST_P(MachineDebuggerTest, DetachedMachineRunsWithoutStops) {
  ASSERT_TRUE(debugger().set_stops({.breakpoints = {GuestVirt(kCode)}, .watchpoints = {}}));
  debugger().detach();
  debugger().pause();
  const u32 value = counter();
  ASSERT_TRUE(debugger().resume({DebugMotion::kContinue}));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  debugger().pause();
  EXPECT_GT(counter(), value);
}

TEST_P(MachineDebuggerTest, MoreStopsThanAProcessorHasRegistersFor) {
  DebugControl stops{.breakpoints = {}, .watchpoints = {{GuestVirt(kCounter), 4, true, false}}};
  for (u64 i = 1; i < 5; ++i) stops.breakpoints.emplace_back(kCode + kPageSize * i);
  stops.breakpoints.emplace_back(kCode + 5);
  ASSERT_TRUE(debugger().set_stops(stops));
  ASSERT_TRUE(debugger().resume({DebugMotion::kContinue}));
  EXPECT_EQ(wait_for_stop().hit.cause, DebugCause::kWatchpoint);
  ASSERT_TRUE(debugger().resume({DebugMotion::kContinue}));
  EXPECT_EQ(wait_for_stop().hit.address, GuestVirt(kCode + 5));
  EXPECT_EQ(counter(), 1u);
}

TEST_P(MachineDebuggerTest, ContinuesAfterItsStopsAreGone) {
  ASSERT_TRUE(debugger().set_stops({.breakpoints = {GuestVirt(kCode + 5)}, .watchpoints = {}}));
  ASSERT_TRUE(debugger().resume({DebugMotion::kContinue}));
  wait_for_stop();
  ASSERT_TRUE(debugger().set_stops({}));
  ASSERT_TRUE(debugger().resume({DebugMotion::kStep}));
  wait_for_stop();
  EXPECT_EQ(rip(), kCode);
  ASSERT_TRUE(debugger().resume({DebugMotion::kContinue}));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  debugger().pause();
  EXPECT_GT(counter(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Engines, MachineDebuggerTest,
                         testing::Values(EngineChoice::kInterp, EngineChoice::kKvm), [](const auto& engine) {
                           return engine.param == EngineChoice::kKvm ? "Kvm" : "Interp";
                         });

}  // namespace
}  // namespace doppel
