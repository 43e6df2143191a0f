// Breakpoints, watchpoints and steps of a debugger outside the guest.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/interp/interpreter.h"

namespace doppel {
namespace {

// A CPU with nothing around it but an interrupt that can be raised. Owned by a test.
struct QuietPlatform final : CpuPlatform {
  void read_mmio(GuestPhys, std::span<u8> data) override { std::ranges::fill(data, u8{0xff}); }
  void write_mmio(GuestPhys, std::span<const u8>) override {}
  u32 read_port(u16, unsigned) override { return 0; }
  void write_port(u16, unsigned, u32) override {}
  bool has_interrupt() override { return has_request; }
  std::optional<u8> acknowledge_interrupt() override {
    return std::exchange(has_request, false) ? std::optional<u8>(0x40) : std::nullopt;
  }
  u8 task_priority() override { return 0; }
  void set_task_priority(u8) override {}
  std::optional<u64> read_msr(u32) override { return std::nullopt; }
  bool write_msr(u32, u64) override { return false; }
  void tsc_offset_changed(u64) override {}
  u64 hypercall(u64, std::span<const u64, 4>) override { return 0; }
  u64 tsc() override { return 0; }
  u64 entropy() override { return 0; }

  bool has_request = false;
};

constexpr u64 kCode = 0x1000;
constexpr u64 kData = 0x8000;
constexpr u64 kStack = 0x9000;
constexpr u64 kIdt = 0xa000;
constexpr u64 kGdt = 0xb000;
constexpr u64 kHandler = 0xc000;
constexpr u64 kMany = 1000;

// Flat 32-bit protected mode, in which traces are linked.
class DebugStopsTest : public testing::Test {
 protected:
  DebugStopsTest() {
    cpu_.cr0 = x86::kCr0Pe;
    for (Segment& segment : cpu_.segments) segment = {0x10, 0xc093, 0xffffffff, 0};
    cpu_.segment(x86::kCs) = {0x08, 0xc09b, 0xffffffff, 0};
    cpu_.gdtr = {kGdt, 0x17};
    cpu_.idtr = {kIdt, 0x7ff};
    memory_->write_value<u64>(GuestPhys(kGdt + 8), 0x00cf9b000000ffff);
    memory_->write_value<u64>(GuestPhys(kGdt + 16), 0x00cf93000000ffff);
    for (u64 vector = 0; vector < 256; ++vector)
      memory_->write_value<u64>(GuestPhys(kIdt + vector * 8), 0x00008e0000080000 | kHandler);
    put(kHandler, {0xcf});  // iret
    cpu_.gpr[x86::kRsp] = kStack;
    cpu_.rip = kCode;
  }

  void put(u64 address, std::initializer_list<u8> bytes) {
    ASSERT_TRUE(memory_->write(GuestPhys(address), {bytes.begin(), bytes.size()}));
  }
  void start() { vcpu_->load(cpu_); }
  void debug(const DebugControl& control) { ASSERT_TRUE(vcpu_->set_debug(control)); }
  Exit run(u64 instructions = kMany) { return vcpu_->run({instructions}); }
  CpuState state() {
    vcpu_->save(cpu_);
    return cpu_;
  }

  QuietPlatform platform_;
  std::unique_ptr<GuestMemory> memory_ = std::move(*GuestMemory::create(kMiB));
  x86::CpuidTable cpuid_ = std::move(*x86::CpuidTable::create("x86-64-v3", {}));
  std::unique_ptr<Vcpu> vcpu_ =
      std::move(*create_interpreter({.memory = *memory_, .platform = platform_, .cpuid = cpuid_}));
  CpuState cpu_;
};

TEST_F(DebugStopsTest, BreakpointStopsBeforeItsInstructionEachTimeRound) {
  put(kCode, {0x40, 0x43, 0x42, 0xeb, 0xfb});  // inc eax; inc ebx; inc edx; jmp start
  start();
  run(400);  // the loop's traces are linked to each other
  debug({.breakpoints = {GuestVirt(kCode + 1)}, .watchpoints = {}});
  const Exit first = run();
  EXPECT_EQ(first.reason, ExitReason::kDebug);
  EXPECT_EQ(first.debug.cause, DebugCause::kBreakpoint);
  EXPECT_EQ(first.debug.address, GuestVirt(kCode + 1));
  EXPECT_EQ(state().rip, kCode + 1);
  EXPECT_EQ(state().gpr[x86::kRax], 101u);
  EXPECT_EQ(state().gpr[x86::kRbx], 100u);
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_EQ(state().gpr[x86::kRax], 102u);
  EXPECT_EQ(state().gpr[x86::kRbx], 101u);
}

TEST_F(DebugStopsTest, BreakpointLeavesTheFlagsOfItsInstructionAlone) {
  put(kCode, {0x90});
  cpu_.rflags |= x86::kFlagRf;
  cpu_.shadow = kShadowSti;
  start();
  debug({.breakpoints = {GuestVirt(kCode)}, .watchpoints = {}});
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_NE(state().rflags & x86::kFlagRf, 0u);
  EXPECT_EQ(state().shadow, kShadowSti);
}

TEST_F(DebugStopsTest, BreakpointMeansTheAddressNotItsPlaceInOtherPages) {
  put(kCode, {0xe9, 0xfb, 0x0f, 0x00, 0x00});  // jmp 2000h
  put(kCode + kPageSize, {0x90, 0xeb, 0xfd});  // nop; jmp 2000h
  start();
  debug({.breakpoints = {GuestVirt(kCode)}, .watchpoints = {}});
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_EQ(run().reason, ExitReason::kBudget);
}

TEST_F(DebugStopsTest, RemovedBreakpointsLeaveNothingBehind) {
  put(kCode, {0x40, 0x43, 0xeb, 0xfc});
  start();
  debug({.breakpoints = {GuestVirt(kCode + 1)}, .watchpoints = {}});
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  debug({});
  EXPECT_EQ(run().reason, ExitReason::kBudget);
}

TEST_F(DebugStopsTest, BreakpointOutlivesARewriteOfItsCode) {
  put(kCode, {0x90, 0x40, 0xeb, 0xfc});  // nop; inc eax; jmp start
  start();
  debug({.breakpoints = {GuestVirt(kCode + 1)}, .watchpoints = {}});
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  put(kCode + 1, {0x43});  // inc ebx
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_EQ(state().gpr[x86::kRbx], 1u);
  EXPECT_EQ(state().rip, kCode + 1);
}

TEST_F(DebugStopsTest, GuestsOwnBreakpointInstructionIsItsOwn) {
  put(kCode, {0xcc, 0x40, 0xf4});  // int3; inc eax; hlt
  start();
  debug({.breakpoints = {GuestVirt(kCode + 1)}, .watchpoints = {}});
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_EQ(state().rip, kCode + 1);
  EXPECT_EQ(memory_->read_value<u8>(GuestPhys(kCode)), 0xcc);
  EXPECT_EQ(run().reason, ExitReason::kHalted);
}

TEST_F(DebugStopsTest, StepRunsOneInstruction) {
  put(kCode, {0x40, 0x43, 0x42});
  start();
  debug({.breakpoints = {}, .watchpoints = {}, .steps = true});
  const Exit exit = run();
  EXPECT_EQ(exit.reason, ExitReason::kDebug);
  EXPECT_EQ(exit.debug.cause, DebugCause::kStep);
  EXPECT_EQ(state().rip, kCode + 1);
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_EQ(state().rip, kCode + 2);
}

TEST_F(DebugStopsTest, StepHoldsInterruptsBack) {
  put(kCode, {0x40, 0x43, 0x42});
  cpu_.rflags |= x86::kFlagIf;
  start();
  platform_.has_request = true;
  vcpu_->notify_interrupt();
  debug({.breakpoints = {}, .watchpoints = {}, .steps = true});
  run();
  EXPECT_EQ(state().rip, kCode + 1);
  debug({.breakpoints = {GuestVirt(kHandler)}, .watchpoints = {}});
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_EQ(state().rip, kHandler);
}

TEST_F(DebugStopsTest, StepOfAHaltedCpuWaitsForItsInterrupt) {
  put(kCode, {0xf4, 0x40});  // hlt; inc eax
  cpu_.rflags |= x86::kFlagIf;
  start();
  debug({.breakpoints = {}, .watchpoints = {}, .steps = true});
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_EQ(run().reason, ExitReason::kHalted);
  platform_.has_request = true;
  vcpu_->notify_interrupt();
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_EQ(state().rip, kCode + 1);  // the handler's iret has run
}

TEST_F(DebugStopsTest, WriteWatchpointStopsBehindTheStore) {
  put(kCode, {0x40, 0xa3, 0x04, 0x80, 0x00, 0x00, 0x43, 0xeb, 0xf7});  // inc eax; mov [8004h], eax; inc ebx
  start();
  run(400);
  debug({.breakpoints = {}, .watchpoints = {{GuestVirt(kData + 7), 1, false, true}}});
  const Exit exit = run();
  EXPECT_EQ(exit.reason, ExitReason::kDebug);
  EXPECT_EQ(exit.debug.cause, DebugCause::kWatchpoint);
  EXPECT_EQ(exit.debug.address, GuestVirt(kData + 7));
  EXPECT_TRUE(exit.debug.is_write);
  EXPECT_EQ(state().rip, kCode + 6);
  EXPECT_EQ(state().gpr[x86::kRax], 101u);
  EXPECT_EQ(memory_->read_value<u32>(GuestPhys(kData + 4)), 101u);
}

TEST_F(DebugStopsTest, ReadWatchpointStopsBehindTheLoadOnly) {
  // mov [8000h], eax; inc ebx; mov ecx, [8000h]; inc ebx
  put(kCode, {0xa3, 0x00, 0x80, 0x00, 0x00, 0x43, 0x8b, 0x0d, 0x00, 0x80, 0x00, 0x00, 0x43, 0xeb, 0xf1});
  start();
  debug({.breakpoints = {}, .watchpoints = {{GuestVirt(kData), 4, true, false}}});
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_EQ(state().rip, kCode + 12);
  EXPECT_EQ(state().gpr[x86::kRbx], 1u);
}

TEST_F(DebugStopsTest, WatchpointIgnoresItsNeighbours) {
  put(kCode, {0xa3, 0x04, 0x80, 0x00, 0x00, 0xeb, 0xf9});  // mov [8004h], eax; jmp start
  start();
  debug({.breakpoints = {},
         .watchpoints = {{GuestVirt(kData + 8), 4, true, true}, {GuestVirt(kData), 4, true, true}}});
  EXPECT_EQ(run().reason, ExitReason::kBudget);
}

TEST_F(DebugStopsTest, WatchpointSeesReadModifyWriteOnce) {
  put(kCode, {0xff, 0x05, 0x00, 0x80, 0x00, 0x00, 0x43, 0xeb, 0xf7});  // inc dword [8000h]; inc ebx
  start();
  debug({.breakpoints = {}, .watchpoints = {{GuestVirt(kData), 4, false, true}}});
  run();
  EXPECT_EQ(memory_->read_value<u32>(GuestPhys(kData)), 1u);
  run();
  EXPECT_EQ(memory_->read_value<u32>(GuestPhys(kData)), 2u);
  EXPECT_EQ(state().gpr[x86::kRbx], 1u);
}

TEST_F(DebugStopsTest, WatchpointInsideARepeatedStoreStopsBehindTheElement) {
  put(kCode, {0xf3, 0xab, 0xf4});  // rep stosd; hlt
  cpu_.gpr[x86::kRcx] = 16;
  cpu_.gpr[x86::kRdi] = kData;
  cpu_.gpr[x86::kRax] = 7;
  start();
  debug({.breakpoints = {}, .watchpoints = {{GuestVirt(kData + 16), 4, false, true}}});
  EXPECT_EQ(run().reason, ExitReason::kDebug);
  EXPECT_EQ(state().gpr[x86::kRcx], 11u);
  EXPECT_EQ(memory_->read_value<u32>(GuestPhys(kData + 16)), 7u);
  EXPECT_EQ(memory_->read_value<u32>(GuestPhys(kData + 20)), 0u);
}

TEST_F(DebugStopsTest, WatchpointSeesWhatAnExceptionPushes) {
  put(kCode, {0xcc});
  start();
  debug({.breakpoints = {}, .watchpoints = {{GuestVirt(kStack - 4), 4, false, true}}});
  EXPECT_EQ(run().debug.cause, DebugCause::kWatchpoint);
  EXPECT_EQ(state().rip, kHandler);
}

}  // namespace
}  // namespace doppel
