// CpuState in and out of KVM's structures, and in and out of KVM itself.
#include "engine/kvm/kvm_state.h"

#include <gtest/gtest.h>

#include "engine/kvm/kvm_fixture.h"
#include "state/state_digest.h"

namespace doppel::kvm {
namespace {

std::string text_of(CpuState state) {
  StatePrinter printer;
  state.visit_state(printer);
  return printer.text();
}

// Something different in every register.
CpuState busy_state() {
  CpuState state;
  reset_cpu_state(state, 0x12345, false);
  u64 next = 0x1111;
  for (u64& gpr : state.gpr) gpr = next += 0x1010101;
  for (Ymm& ymm : state.ymm) ymm.qword = {next += 3, next += 5, 0, 0};
  state.rflags = x86::kFlagReserved1 | x86::kFlagCf | x86::kFlagZf;
  state.fx.fcw = 0x27f;
  state.fx.fsw = 0x1800;
  state.fx.ftw = 0x18;
  state.fx.mxcsr = 0x1fa0;
  for (unsigned i = 0; i < 8; ++i) state.fx.st[i][0] = static_cast<u8>(next += 7);
  state.gdtr = {.base = 0x3000, .limit = 0x7f};
  state.idtr = {.base = 0x4000, .limit = 0xfff};
  state.cr2 = 0xabcdef;
  state.dr = {0x1000, 0x2000, 0x3000, 0x4000};
  state.star = 0x0023001000000000;
  state.lstar = 0xffffffff81000000;
  state.sfmask = 0x47700;
  state.kernel_gs_base = 0xffff888000000000;
  state.sysenter_cs = 0x10;
  state.sysenter_esp = 0x8000;
  state.sysenter_eip = 0x9000;
  state.pat = 0x0007010600070106;
  state.misc_enable = 1;
  state.mtrr.def_type = 0xc06;
  state.instructions_retired = 77;
  return state;
}

// Flat 64-bit code with 4-level paging.
CpuState long_mode() {
  CpuState state = busy_state();
  state.cr0 = x86::kCr0Pe | x86::kCr0Pg | x86::kCr0Et | x86::kCr0Ne | x86::kCr0Wp;
  state.cr3 = 0x10000;
  state.cr4 = x86::kCr4Pae | x86::kCr4Osfxsr | x86::kCr4Osxmmexcpt;
  state.efer = x86::kEferLme | x86::kEferLma | x86::kEferSce | x86::kEferNxe;
  state.segment(x86::kCs) = {.selector = 0x10, .attributes = 0xa09b, .limit = 0xffffffff, .base = 0};
  for (const unsigned i : {x86::kEs, x86::kSs, x86::kDs}) {
    state.segment(i) = {.selector = 0x18, .attributes = 0xc093, .limit = 0xffffffff, .base = 0};
  }
  state.segment(x86::kGs) = {
      .selector = 0, .attributes = 0xc093, .limit = 0xffffffff, .base = 0xffff888000001000};
  state.tr = {.selector = 0x40, .attributes = 0x8b, .limit = 0x67, .base = 0x5000};
  state.rip = 0xffffffff81000000;
  return state;
}

TEST(KvmState, GeneralRegistersComeBack) {
  const CpuState in = busy_state();
  CpuState out;
  from_regs(to_regs(in), out);
  EXPECT_EQ(out.gpr, in.gpr);
  EXPECT_EQ(out.rip, in.rip);
  EXPECT_EQ(out.rflags, in.rflags);
}

TEST(KvmState, SegmentsComeBackWithTheirAttributes) {
  const CpuState in = long_mode();
  CpuState out;
  from_sregs(to_sregs(in, 0, {}), out);
  EXPECT_EQ(out.segment(x86::kCs).attributes, 0xa09b);
  EXPECT_EQ(out.segment(x86::kGs).base, 0xffff888000001000);
  EXPECT_EQ(out.tr.limit, 0x67u);
}

TEST(KvmState, ANullSelectorIsUnusableAndComesBackSo) {
  CpuState in = long_mode();
  in.segment(x86::kDs) = {};
  const kvm_sregs2 sregs = to_sregs(in, 0, {});
  EXPECT_EQ(sregs.ds.unusable, 1);
  CpuState out;
  from_sregs(sregs, out);
  EXPECT_FALSE(out.segment(x86::kDs).is_usable());
}

TEST(KvmState, PaeDirectoryPointersAreGivenWhereTheyCount) {
  CpuState in = long_mode();
  in.pdpte = {1, 2, 3, 4};
  EXPECT_EQ(to_sregs(in, 0, {}).flags, 0u);
  in.efer = 0;
  const kvm_sregs2 sregs = to_sregs(in, 0, {});
  EXPECT_EQ(sregs.flags, u64{KVM_SREGS2_FLAGS_PDPTRS_VALID});
  CpuState out;
  from_sregs(sregs, out);
  EXPECT_EQ(out.pdpte, in.pdpte);
}

TEST(KvmState, UpperVectorHalvesTravelOnlyWithAvx) {
  CpuState in;
  in.ymm[3].qword = {1, 2, 3, 4};
  XsaveImage image;
  CpuState out;
  to_xsave(in, true, image);
  from_xsave(image, out);
  EXPECT_EQ(out.ymm[3].qword, (std::array<u64, 4>{1, 2, 3, 4}));
  to_xsave(in, false, image);
  from_xsave(image, out);
  EXPECT_EQ(out.ymm[3].qword, (std::array<u64, 4>{1, 2, 0, 0}));
}

TEST(KvmState, ComponentsThatAreNotInTheImageAreInitial) {
  XsaveImage image = {};
  CpuState out = busy_state();
  from_xsave(image, out);
  EXPECT_EQ(out.fx.fcw, 0x37f);
  EXPECT_EQ(out.ymm[0].qword, (std::array<u64, 4>{}));
}

TEST(KvmState, ShadowsAndNmisTravel) {
  CpuState in;
  in.shadow = kShadowMovSs;
  in.nmi_blocked = true;
  in.nmi_pending = true;
  CpuState out;
  from_events(to_events(in), out);
  EXPECT_EQ(out.shadow, kShadowMovSs);
  EXPECT_TRUE(out.nmi_blocked);
  EXPECT_TRUE(out.nmi_pending);
}

TEST(KvmState, AnNmiThatWasNotDeliveredYetIsPendingAgain) {
  kvm_vcpu_events events{};
  events.nmi.injected = 1;
  events.nmi.masked = 1;
  CpuState out;
  from_events(events, out);
  EXPECT_TRUE(out.nmi_pending);
  EXPECT_FALSE(out.nmi_blocked);
}

TEST_F(KvmTest, ARealModeStateComesBackWhole) {
  CpuState in = busy_state();
  in.tsc_offset = 0;
  vcpu_->load(in);
  CpuState out = saved();
  out.tsc_offset = 0;
  EXPECT_EQ(text_of(out), text_of(in));
}

TEST_F(KvmTest, ALongModeStateComesBackWhole) {
  CpuState in = long_mode();
  vcpu_->load(in);
  CpuState out = saved();
  out.tsc_offset = in.tsc_offset;
  EXPECT_EQ(text_of(out), text_of(in));
}

TEST_F(KvmTest, TheTscOffsetComesBack) {
  if (!vm_->device().can_offset_tsc()) GTEST_SKIP() << "this KVM is software and ignores the TSC's offset";
  CpuState in = busy_state();
  in.tsc_offset = 0x123456789a;
  vcpu_->load(in);
  EXPECT_EQ(saved().tsc_offset, in.tsc_offset);
}

TEST_F(KvmTest, AnImpossibleStateIsAShutdownWithAReason) {
  CpuState in = busy_state();
  in.cr0 = x86::kCr0Pg;  // paging without protection
  vcpu_->load(in);
  const Exit exit = vcpu_->run({.instructions = 1});
  EXPECT_EQ(exit.reason, ExitReason::kShutdown);
  EXPECT_NE(exit.detail, "");
}

}  // namespace
}  // namespace doppel::kvm
