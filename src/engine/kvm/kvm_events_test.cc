// Exceptions and interrupts that KVM took and did not deliver; no KVM is needed.
#include "engine/kvm/kvm_events.h"

#include "engine/kvm/kvm_fixture.h"

namespace doppel::kvm {
namespace {

constexpr u8 kVector = 0x20;

kvm_vcpu_events events_with(u8 exception, u8 interrupt) {
  kvm_vcpu_events events{};
  events.exception.injected = exception != 0;
  events.exception.nr = exception;
  events.interrupt.injected = interrupt != 0;
  events.interrupt.nr = interrupt;
  return events;
}

// Protected mode with one code segment, #PF through a trap or interrupt gate to 3000H, vector 20H to 2000H.
class KvmEvents : public testing::Test {
 protected:
  KvmEvents() {
    reset_cpu_state(core_.state, 0, false);
    CpuState& state = core_.state;
    state.cr0 = x86::kCr0Pe | x86::kCr0Et;
    state.gdtr = {.base = 0x6000, .limit = 0x17};
    state.idtr = {.base = 0x7000, .limit = 0x7ff};
    put(0x6008, 0x00cf9b000000ffff);
    put(0x7000 + kVector * 8, 0x00008e0000082000);
    state.segment(x86::kCs) = {.selector = 8, .attributes = 0xc09b, .limit = 0xffffffff, .base = 0};
    state.segment(x86::kSs) = {.selector = 16, .attributes = 0xc093, .limit = 0xffffffff, .base = 0};
    state.rip = kCode;
    state.gpr[x86::kRsp] = 0x8000;
    state.rflags |= x86::kFlagIf;
    core_.state_replaced();
  }
  void put(u64 address, u64 value) { ASSERT_TRUE(memory_->write_value(GuestPhys(address), value)); }
  void put_page_fault_gate(u64 gate) { put(0x7000 + x86::kVectorPf * 8, gate); }
  u32 pushed(unsigned index) {
    return memory_->read_value<u32>(GuestPhys(core_.state.gpr[x86::kRsp] + 4 * index)).value();
  }
  void deliver(const kvm_vcpu_events& events) {
    deliver_taken(core_, platform_, taken_events(events, false));
  }

  std::unique_ptr<GuestMemory> memory_ = std::move(*GuestMemory::create(2 * kMiB));
  FakePlatform platform_{1'000'000'000};
  x86::CpuidTable cpuid_ = *x86::CpuidTable::create("x86-64-v3", {});
  Core core_{*memory_, platform_, cpuid_};
};

TEST_F(KvmEvents, AnInterruptAloneIsDelivered) {
  deliver(events_with(0, kVector));
  EXPECT_EQ(core_.state.rip, 0x2000u);
  EXPECT_EQ(pushed(0), kCode);
  EXPECT_FALSE(platform_.vector.has_value());
}

TEST_F(KvmEvents, AnInterruptGoesBackWhenTheExceptionForbidsIt) {
  put_page_fault_gate(0x00008e0000083000);
  deliver(events_with(x86::kVectorPf, kVector));
  EXPECT_EQ(core_.state.rip, 0x3000u);
  EXPECT_EQ(pushed(0), kCode);
  EXPECT_EQ(platform_.vector, kVector);
}

TEST_F(KvmEvents, AnInterruptFollowsTheExceptionThatAllowsIt) {
  put_page_fault_gate(0x00008f0000083000);
  deliver(events_with(x86::kVectorPf, kVector));
  EXPECT_EQ(core_.state.rip, 0x2000u);
  EXPECT_EQ(pushed(0), 0x3000u);
  EXPECT_EQ(pushed(3), kCode);
  EXPECT_FALSE(platform_.vector.has_value());
}

TEST_F(KvmEvents, AnInterruptGoesBackInTheShadowOfAnInstruction) {
  core_.state.shadow = kShadowSti;
  deliver(events_with(0, kVector));
  EXPECT_EQ(core_.state.rip, kCode);
  EXPECT_EQ(platform_.vector, kVector);
}

TEST_F(KvmEvents, AnInterruptOutlivesTheReportOfAnInstruction) {
  const TakenEvents taken = taken_events(events_with(x86::kVectorUd, kVector), true);
  EXPECT_FALSE(taken.exception.has_value());
  EXPECT_EQ(taken.interrupt, kVector);
}

TEST_F(KvmEvents, WhatAnInstructionRaisesAgainIsNotTaken) {
  kvm_vcpu_events events = events_with(x86::kVectorBp, 0x80);
  events.interrupt.soft = 1;
  const TakenEvents taken = taken_events(events, false);
  EXPECT_FALSE(taken.exception.has_value());
  EXPECT_FALSE(taken.interrupt.has_value());
}

}  // namespace
}  // namespace doppel::kvm
