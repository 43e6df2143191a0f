// A vCPU in the host's KVM: exits, events, kicks, time. Code is 16-bit.
#include <algorithm>
#include <thread>

#include "engine/kvm/kvm_fixture.h"

namespace doppel::kvm {
namespace {

constexpr u8 kHlt = 0xf4;

TEST_F(KvmTest, HaltsAndSaysWhere) {
  EXPECT_EQ(run({0x90, kHlt}).reason, ExitReason::kHalted);
  EXPECT_EQ(saved().rip, kCode + 2);
  EXPECT_EQ(saved().activity, Activity::kHalted);
}

TEST_F(KvmTest, PortAccessesReachThePlatform) {
  // mov al, 7; out 0x80, al; in ax, 0x42; hlt
  run({0xb0, 0x07, 0xe6, 0x80, 0xe5, 0x42, kHlt});
  EXPECT_EQ(platform_->log, "out 80+1 7; in 42+2; ");
  EXPECT_EQ(saved().gpr[x86::kRax] & 0xffff, 0x5a5a);
}

TEST_F(KvmTest, StringOutputArrivesByteByByte) {
  put(0x3000, {1, 2, 3});
  // mov si, 0x3000; mov dx, 0x80; mov cx, 3; rep outsb; hlt
  run({0xbe, 0x00, 0x30, 0xba, 0x80, 0x00, 0xb9, 0x03, 0x00, 0xf3, 0x6e, kHlt});
  EXPECT_EQ(platform_->log, "out 80+1 1; out 80+1 2; out 80+1 3; ");
  EXPECT_EQ(saved().gpr[x86::kRsi] & 0xffff, 0x3003);
}

TEST_F(KvmTest, MemoryWithoutRamReachesThePlatform) {
  CpuState state = real_mode();
  state.segment(x86::kDs) = {.selector = 0xffff, .attributes = 0x93, .limit = 0xffff, .base = 0x400000};
  put(kCode,
      {0xc6, 0x06, 0x34, 0x12, 0x77, 0xa0, 0x00, 0x20, kHlt});  // mov byte [0x1234], 0x77; mov al, [0x2000]
  vcpu_->load(state);
  vcpu_->run({.instructions = ~u64{0}});
  EXPECT_EQ(platform_->log, "write 401234+1 77; read 402000+1; ");
  EXPECT_EQ(saved().gpr[x86::kRax] & 0xff, 0x5a);
}

TEST_F(KvmTest, RegistersThatKvmDoesNotKeepAreAskedOfThePlatform) {
  // mov ecx, 0x4b564d01; rdmsr; hlt
  run({0x66, 0xb9, 0x01, 0x4d, 0x56, 0x4b, 0x0f, 0x32, kHlt});
  EXPECT_EQ(platform_->log, "rdmsr 4b564d01; ");
  EXPECT_EQ(saved().gpr[x86::kRax] & 0xffffffff, 0x55667788u);
  EXPECT_EQ(saved().gpr[x86::kRdx] & 0xffffffff, 0x11223344u);
}

TEST_F(KvmTest, X2ApicRegistersAreThePlatforms) {
  // mov ecx, 0x802; rdmsr; hlt
  run({0x66, 0xb9, 0x02, 0x08, 0x00, 0x00, 0x0f, 0x32, kHlt});
  EXPECT_EQ(platform_->log, "rdmsr 802; ");
}

TEST_F(KvmTest, DeliversAnInterruptOnceTheGuestAllowsIt) {
  put(0x20 * 4, {0x00, 0x20, 0x00, 0x00});  // vector 20H at 0:2000H
  put(0x2000, {0xe6, 0x81, kHlt});          // out 0x81, al; hlt
  platform_->vector = 0x20;
  run({0xe6, 0x80, 0xfb, 0xeb, 0xfe});  // out 0x80, al; sti; jmp $
  EXPECT_EQ(platform_->log, "out 80+1 0; out 81+1 0; ");
  EXPECT_FALSE(platform_->vector.has_value());
}

TEST_F(KvmTest, AnInterruptEndsAHalt) {
  put(0x20 * 4, {0x00, 0x20, 0x00, 0x00});
  put(0x2000, {0xe6, 0x81, 0xfa, kHlt});
  EXPECT_EQ(run({0xfb, kHlt}).reason, ExitReason::kHalted);
  platform_->vector = 0x20;
  vcpu_->notify_interrupt();
  EXPECT_EQ(vcpu_->run({.instructions = ~u64{0}}).reason, ExitReason::kHalted);
  EXPECT_EQ(platform_->log, "out 81+1 0; ");
}

TEST_F(KvmTest, AnInterruptThatWasTakenIsNotLostWhenTheStateIsTakenOut) {
  put(0x20 * 4, {0x00, 0x20, 0x00, 0x00});
  put(0x2000, {kHlt});
  platform_->on_write_port = [this] {
    platform_->vector = 0x20;
    vcpu_->notify_interrupt();
    vcpu_->kick();
  };
  EXPECT_EQ(run({0xfb, 0x90, 0xe6, 0x80, 0xeb, 0xfe}).reason, ExitReason::kKicked);
  const CpuState state = saved();
  vcpu_->load(state);
  EXPECT_EQ(vcpu_->run({.instructions = ~u64{0}}).reason, ExitReason::kHalted);
  EXPECT_EQ(saved().rip, 0x2001u);
}

// The guest's write of an MSR is refused, and an interrupt arrives meanwhile.
class KvmFaultTest : public KvmTest {
 protected:
  ExitReason run_refused_write() {
    put(13 * 4, {0x00, 0x30, 0x00, 0x00});
    put(0x20 * 4, {0x00, 0x20, 0x00, 0x00});
    put(0x3000, {0xe6, 0x82, 0xfb, kHlt});  // out 0x82, al; sti; hlt
    put(0x2000, {0xe6, 0x81, kHlt});        // out 0x81, al; hlt
    platform_->accepts_msrs = false;
    // sti; nop; mov ecx, 0x4b564d01; wrmsr; hlt
    return run({0xfb, 0x90, 0x66, 0xb9, 0x01, 0x4d, 0x56, 0x4b, 0x0f, 0x30, kHlt}).reason;
  }
};

TEST_F(KvmFaultTest, AnInterruptWaitsForTheExceptionThatEndsAnInstruction) {
  platform_->on_write_msr = [this] {
    platform_->vector = 0x20;
    vcpu_->notify_interrupt();
  };
  EXPECT_EQ(run_refused_write(), ExitReason::kHalted);
  EXPECT_EQ(platform_->log, "wrmsr 4b564d01 0; out 82+1 0; out 81+1 0; ");
}

TEST_F(KvmFaultTest, ExceptionAndInterruptOutliveAStateThatIsTakenOut) {
  platform_->on_write_msr = [this] {
    platform_->vector = 0x20;
    vcpu_->notify_interrupt();
    vcpu_->kick();
  };
  EXPECT_EQ(run_refused_write(), ExitReason::kKicked);
  EXPECT_EQ(saved().rip, 0x3000u);
  const CpuState state = saved();
  vcpu_->load(state);
  EXPECT_EQ(vcpu_->run({.instructions = ~u64{0}}).reason, ExitReason::kHalted);
  EXPECT_EQ(platform_->log, "wrmsr 4b564d01 0; out 82+1 0; out 81+1 0; ");
}

TEST_F(KvmTest, AnAnnouncedNmiIsPartOfTheState) {
  vcpu_->load(real_mode());
  vcpu_->notify_nmi();
  EXPECT_TRUE(saved().nmi_pending);
  EXPECT_TRUE(saved().nmi_pending);
}

TEST_F(KvmTest, AnNmiIsDelivered) {
  put(2 * 4, {0x00, 0x20, 0x00, 0x00});
  put(0x2000, {0xe6, 0x81, kHlt});
  vcpu_->notify_nmi();
  run({0x90, 0x90, kHlt});
  EXPECT_EQ(platform_->log, "out 81+1 0; ");
  EXPECT_TRUE(saved().nmi_blocked);
}

TEST_F(KvmTest, AKickFromAnotherThreadEndsAnEndlessLoop) {
  put(kCode, {0xeb, 0xfe});
  CpuState state = real_mode();
  state.rflags |= x86::kFlagIf;  // Bochs, where this runs too, never interrupts such a guest with IF clear
  vcpu_->load(state);
  std::thread kicker([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    vcpu_->kick();
  });
  EXPECT_EQ(vcpu_->run({.instructions = ~u64{0}}).reason, ExitReason::kKicked);
  kicker.join();
  EXPECT_EQ(saved().rip, kCode);
}

TEST_F(KvmTest, AKickInsideAnAccessLeavesTheInstructionDone) {
  platform_->on_write_port = [this] { vcpu_->kick(); };
  EXPECT_EQ(run({0xe6, 0x80, kHlt}).reason, ExitReason::kKicked);
  EXPECT_EQ(saved().rip, kCode + 2);
  EXPECT_EQ(platform_->log, "out 80+1 0; ");
}

TEST_F(KvmTest, ATripleFaultIsAShutdown) {
  CpuState state = real_mode();
  state.cr0 |= x86::kCr0Pe;
  state.segment(x86::kCs).selector = 8;
  state.segment(x86::kSs).selector = 16;
  state.idtr = {.base = 0, .limit = 0};
  put(kCode, {0x0f, 0x0b});
  vcpu_->load(state);
  EXPECT_EQ(vcpu_->run({.instructions = ~u64{0}}).reason, ExitReason::kShutdown);
  EXPECT_EQ(saved().activity, Activity::kShutdown);
}

TEST_F(KvmTest, AVcpuThatWaitsForStartUpDoesNotRun) {
  CpuState state = real_mode();
  state.activity = Activity::kWaitForSipi;
  put(kCode, {0xe6, 0x80, kHlt});
  vcpu_->load(state);
  EXPECT_EQ(vcpu_->run({.instructions = ~u64{0}}).reason, ExitReason::kHalted);
  EXPECT_EQ(platform_->log, "");
}

// The guest reads its TSC between two looks at the machine's.
TEST_F(KvmTest, TheGuestsTscIsTheMachinesPlusItsOffset) {
  if (!vm_->device().can_offset_tsc()) GTEST_SKIP() << "this KVM is software and ignores the TSC's offset";
  constexpr u64 kOffset = u64{1} << 40;
  CpuState state = real_mode();
  state.tsc_offset = kOffset;
  put(kCode, {0x0f, 0x31, kHlt});  // rdtsc
  vcpu_->load(state);
  const u64 before = platform_->tsc();
  vcpu_->run({.instructions = ~u64{0}});
  const u64 after = platform_->tsc();
  const CpuState end = saved();
  const u64 seen = (end.gpr[x86::kRdx] << 32 | (end.gpr[x86::kRax] & 0xffffffff)) - kOffset;
  const u64 slack = platform_->inputs.tsc_hz() / 10'000;  // 100 microseconds
  EXPECT_GE(seen + slack, before);
  EXPECT_LE(seen, after + slack);
}

TEST(KvmDevice, SaysWhatIsMissing) {
  const Result<KvmDevice> absent = KvmDevice::open("/dev/no-kvm");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().message,
            "engine kvm: no /dev/no-kvm on this host; load kvm_intel or kvm_amd, or use --engine interp");
  const Result<KvmDevice> other = KvmDevice::open("/dev/null");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().message, "engine kvm: /dev/null is not KVM");
}

TEST_F(KvmTest, AMachineThatOffersMoreThanKvmIsRefusedByName) {
  const x86::FeatureSet missing = missing_features(vm_->device());
  if (!missing.has(x86::Feature::kLa57)) GTEST_SKIP() << "this KVM offers everything the test could ask for";
  const x86::CpuidTable table = *x86::CpuidTable::create("host,+la57", {});
  const Result<void> checked = check_cpuid(vm_->device(), table);
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().message.find(" la57"), std::string::npos);
}

}  // namespace
}  // namespace doppel::kvm
