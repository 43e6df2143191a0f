// A debugger's stops in debug registers, and in a vCPU of the host's KVM. Code is 16-bit.
#include "engine/kvm/kvm_debug.h"

#include "engine/kvm/kvm_fixture.h"

namespace doppel::kvm {
namespace {

constexpr u8 kHlt = 0xf4;
constexpr u64 kForever = ~u64{0};

TEST(KvmDebugPlan, BreakpointsAndWatchpointsTakeOneRegisterEach) {
  const Result<DebugPlan> plan = DebugPlan::create(
      {.breakpoints = {GuestVirt(0x1234)}, .watchpoints = {{GuestVirt(0x5008), 8, true, true}}});
  ASSERT_TRUE(plan);
  const kvm_guest_debug arguments = plan->arguments();
  EXPECT_EQ(arguments.control, u32{KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP});
  EXPECT_EQ(arguments.arch.debugreg[0], 0x1234u);
  EXPECT_EQ(arguments.arch.debugreg[1], 0x5008u);
  EXPECT_EQ(arguments.arch.debugreg[7], 0xb0'040au);  // G0, G1; register 1: LEN 10, R/W 11
}

TEST(KvmDebugPlan, AWatchpointIsSplitIntoAlignedPieces) {
  const Result<DebugPlan> plan =
      DebugPlan::create({.breakpoints = {}, .watchpoints = {{GuestVirt(0x5003), 7, false, true}}});
  ASSERT_TRUE(plan);
  const kvm_guest_debug arguments = plan->arguments();
  EXPECT_EQ(arguments.arch.debugreg[0], 0x5003u);
  EXPECT_EQ(arguments.arch.debugreg[1], 0x5004u);
  EXPECT_EQ(arguments.arch.debugreg[2], 0x5008u);
  EXPECT_EQ(arguments.arch.debugreg[7], 0x5d1'042au);  // one, four, two bytes
}

TEST(KvmDebugPlan, MoreThanTheRegistersIsAnError) {
  const Result<DebugPlan> plan = DebugPlan::create(
      {.breakpoints = {GuestVirt(1), GuestVirt(2), GuestVirt(3), GuestVirt(4), GuestVirt(5)},
       .watchpoints = {}});
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().message,
            "engine kvm: breakpoints and watchpoints need more than the processor's 4 debug registers");
}

TEST(KvmDebugPlan, ReadsAloneCannotBeWatched) {
  EXPECT_FALSE(DebugPlan::create({.breakpoints = {}, .watchpoints = {{GuestVirt(0x5000), 1, true, false}}}));
}

TEST(KvmDebugPlan, ReportsTheWatchpointBeforeTheNextInstructionsBreakpoint) {
  const Result<DebugPlan> plan = DebugPlan::create(
      {.breakpoints = {GuestVirt(0x1234)}, .watchpoints = {{GuestVirt(0x5003), 2, false, true}}});
  ASSERT_TRUE(plan);
  const std::optional<DebugHit> hit = plan->hit(0xffff0ff5, 0x1234);
  ASSERT_TRUE(hit);
  EXPECT_EQ(hit->cause, DebugCause::kWatchpoint);
  EXPECT_EQ(hit->address, GuestVirt(0x5003));
  EXPECT_TRUE(hit->is_write);
}

TEST(KvmDebugPlan, BitsOfBreakpointsElsewhereMeanNothing) {
  const Result<DebugPlan> plan =
      DebugPlan::create({.breakpoints = {GuestVirt(0x1234), GuestVirt(0x2000)}, .watchpoints = {}});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->hit(0xffff0ff3, 0x2000)->address, GuestVirt(0x2000));
  EXPECT_FALSE(plan->hit(0xffff0ff1, 0x2000));
  EXPECT_FALSE(plan->hit(0xffff4ff0, 0x1234));
}

// Software KVM stops at breakpoints in kernel code only and at no access, KVM inside QEMU not at all.
class KvmDebugTest : public KvmTest {
 protected:
  void SetUp() override {
    KvmTest::SetUp();
    if (IsSkipped()) return;
    has_registers_ = vm_->check_debug_registers().has_value();
    vm_->assume_debug_registers();
  }
  void debug(const DebugControl& control) { ASSERT_TRUE(vcpu_->set_debug(control)); }
  void start(std::initializer_list<u8> code, u64 flags = 0) {
    put(kCode, code);
    CpuState state = real_mode();
    state.rflags |= flags;
    vcpu_->load(state);
  }
  Exit run_on() { return vcpu_->run({.instructions = kForever}); }
  // As another engine does for the instruction that this one leaves to it.
  void execute(u64 rip) {
    CpuState state = saved();
    state.rip = rip;
    ++state.instructions_retired;
    vcpu_->load(state);
  }

  bool has_registers_ = false;
};

#define NEED_BREAKPOINTS()                                  \
  if (!has_registers_ && KvmDevice::is_processor_capable()) \
  GTEST_SKIP() << "this KVM runs in an emulator whose VMRUN does not arm debug registers"
#define NEED_WATCHPOINTS() \
  if (!has_registers_) GTEST_SKIP() << "debug registers do not stop guests of this host's KVM"

TEST_F(KvmDebugTest, BreakpointStopsBeforeItsInstruction) {
  NEED_BREAKPOINTS();
  debug({.breakpoints = {GuestVirt(kCode + 1)}, .watchpoints = {}});
  start({0x90, 0x40, kHlt});  // nop; inc ax; hlt
  const Exit exit = run_on();
  EXPECT_EQ(exit.reason, ExitReason::kDebug);
  EXPECT_EQ(exit.debug.cause, DebugCause::kBreakpoint);
  EXPECT_EQ(exit.debug.address, GuestVirt(kCode + 1));
  EXPECT_EQ(saved().rip, kCode + 1);
  EXPECT_EQ(saved().rflags & x86::kFlagRf, 0u);
}

TEST_F(KvmDebugTest, LeavesTheInstructionAtAReportedBreakpointToAnotherEngine) {
  NEED_BREAKPOINTS();
  debug({.breakpoints = {GuestVirt(kCode + 1)}, .watchpoints = {}});
  start({0x90, 0x40, 0xeb, 0xfc});  // nop; inc ax; jmp start
  EXPECT_EQ(run_on().reason, ExitReason::kDebug);
  EXPECT_EQ(run_on().reason, ExitReason::kUnsupported);
  execute(kCode + 2);
  EXPECT_EQ(run_on().reason, ExitReason::kDebug);
  EXPECT_EQ(saved().rip, kCode + 1);
}

TEST_F(KvmDebugTest, ABreakpointCountsAgainWhereTheDebuggerMovedTo) {
  NEED_BREAKPOINTS();
  debug({.breakpoints = {GuestVirt(kCode + 1)}, .watchpoints = {}});
  start({0x90, 0x40, kHlt});
  EXPECT_EQ(run_on().reason, ExitReason::kDebug);
  vcpu_->load(real_mode());
  EXPECT_EQ(run_on().reason, ExitReason::kDebug);
  EXPECT_EQ(saved().rip, kCode + 1);
}

TEST_F(KvmDebugTest, RemovedStopsLeaveNothingBehind) {
  debug({.breakpoints = {GuestVirt(kCode + 1)}, .watchpoints = {{GuestVirt(0x5000), 1, false, true}}});
  debug({});
  start({0x90, 0xa2, 0x00, 0x50, kHlt});
  EXPECT_EQ(run_on().reason, ExitReason::kHalted);
  EXPECT_EQ(saved().dr7, x86::kDr7Fixed);
}

TEST_F(KvmDebugTest, WriteWatchpointStopsBehindTheStore) {
  NEED_WATCHPOINTS();
  debug({.breakpoints = {}, .watchpoints = {{GuestVirt(0x5001), 1, false, true}}});
  start({0x40, 0xa3, 0x00, 0x50, 0x90, kHlt});  // inc ax; mov [5000h], ax; nop
  const Exit exit = run_on();
  EXPECT_EQ(exit.reason, ExitReason::kDebug);
  EXPECT_EQ(exit.debug.cause, DebugCause::kWatchpoint);
  EXPECT_EQ(exit.debug.address, GuestVirt(0x5001));
  EXPECT_EQ(saved().rip, kCode + 4);
  EXPECT_EQ(run_on().reason, ExitReason::kHalted);
}

TEST_F(KvmDebugTest, TheGuestsDebugRegistersAreNotTheDebuggers) {
  debug({.breakpoints = {GuestVirt(kCode + 0x800)}, .watchpoints = {}});
  CpuState state = real_mode();
  state.dr[0] = 0x7000;
  put(kCode, {0x0f, 0x21, 0xc3, kHlt});  // mov ebx, dr0
  vcpu_->load(state);
  EXPECT_EQ(run_on().reason, ExitReason::kHalted);
  EXPECT_EQ(saved().gpr[x86::kRbx], 0x7000u);
  EXPECT_EQ(saved().dr[0], 0x7000u);
  EXPECT_EQ(saved().dr7, x86::kDr7Fixed);
}

// The exception KVM hands over is not the debugger's.
TEST_F(KvmDebugTest, TheGuestsSingleStepIsItsOwn) {
  put(1 * 4, {0x00, 0x20, 0x00, 0x00});  // vector 1 at 0:2000H
  put(0x2000, {0xe6, 0x81, kHlt});       // out 0x81, al; hlt
  debug({.breakpoints = {GuestVirt(kCode + 0x800)}, .watchpoints = {}});
  start({0x90, 0x90, 0x90, kHlt}, x86::kFlagTf);
  EXPECT_EQ(run_on().reason, ExitReason::kHalted);
  EXPECT_EQ(platform_->log, "out 81+1 0; ");
  EXPECT_NE(saved().dr6 & x86::kDr6Bs, 0u);
}

TEST_F(KvmDebugTest, StepsAreLeftToAnotherEngine) {
  debug({.breakpoints = {}, .watchpoints = {}, .steps = true});
  start({0x90, kHlt});
  EXPECT_EQ(run_on().reason, ExitReason::kUnsupported);
  EXPECT_EQ(saved().rip, kCode);
  debug({});
  EXPECT_EQ(run_on().reason, ExitReason::kHalted);
}

TEST_F(KvmDebugTest, AnNmiThatWaitsForAStepIsInTheState) {
  debug({.breakpoints = {}, .watchpoints = {}, .steps = true});
  start({0x90, kHlt});
  vcpu_->notify_nmi();
  EXPECT_EQ(run_on().reason, ExitReason::kUnsupported);
  EXPECT_TRUE(saved().nmi_pending);
}

TEST_F(KvmDebugTest, TooManyStopsChangeNothing) {
  NEED_BREAKPOINTS();
  debug({.breakpoints = {GuestVirt(kCode + 1)}, .watchpoints = {}});
  EXPECT_FALSE(vcpu_->set_debug({.breakpoints = {}, .watchpoints = {{GuestVirt(1), 31, false, true}}}));
  start({0x90, 0x40, kHlt});
  EXPECT_EQ(run_on().reason, ExitReason::kDebug);
}

}  // namespace
}  // namespace doppel::kvm
