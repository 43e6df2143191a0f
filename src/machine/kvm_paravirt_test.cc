// The KVM paravirtual interface: clock pages, skipped end-of-interrupts, hypercalls, refused values.
#include "machine/kvm_paravirt.h"

#include <gtest/gtest.h>

#include "irq/test_support.h"
#include "x86/msr.h"

namespace doppel {
namespace {

using namespace irq_test;
using namespace std::chrono_literals;

constexpr u64 kPage = 0x3000;  // where the tests put whatever page is spoken of
constexpr u64 kNoSuchHypercall = static_cast<u64>(-1000);

class KvmInterface : public testing::Test {
 protected:
  void SetUp() override { write32(lapic, kApicSpurious, 0x1ff); }

  bool write_msr(u32 index, u64 value, u64 tsc_offset = 0) {
    return kvm.write_msr(index, value, tsc_offset).value();
  }
  template <class T>
  T at(u64 address) const {
    return memory->read_value<T>(GuestPhys(address)).value();
  }
  void set(u64 address, u32 value) { memory->write_value<u32>(GuestPhys(address), value); }
  void request(u8 vector) { bus.deliver({.destination = 0, .vector = vector}); }
  // What the vCPU does at an instruction boundary where an interrupt is taken.
  std::optional<u8> take_interrupt() {
    kvm.before_interrupt();
    const std::optional<u8> vector = lapic.acknowledge();
    kvm.after_acknowledge();
    return vector;
  }

  std::unique_ptr<GuestMemory> memory = std::move(*GuestMemory::create(kMiB));
  FakeInputs inputs;
  TimerQueue timers{inputs};
  FakeCpu cpu{inputs};
  ApicBus bus;
  LocalApic lapic{0, bus, timers, cpu};
  KvmParavirt kvm{*memory, inputs, bus, lapic};
};

TEST_F(KvmInterface, ClockPageTiesTheTscToMachineTime) {
  inputs.set_now(5000ns);
  EXPECT_TRUE(write_msr(x86::kMsrKvmSystemTimeNew, kPage | 1, 700));
  EXPECT_EQ(at<u32>(kPage), 2u);                 // version: even
  EXPECT_EQ(at<u64>(kPage + 8), 10'000u + 700);  // guest TSC at 2 GHz
  EXPECT_EQ(at<u64>(kPage + 16), 5000u);         // nanoseconds
  EXPECT_EQ(at<u32>(kPage + 24), 0x80000000u);   // half a nanosecond each tick
  EXPECT_EQ(at<i8>(kPage + 28), 0);
  EXPECT_EQ(at<u8>(kPage + 29), 1);  // stable TSC
}

TEST_F(KvmInterface, ClockPageScalesSlowAndFastTscs) {
  inputs.set_tsc_hz(500'000'000);
  write_msr(x86::kMsrKvmSystemTimeNew, kPage | 1);
  EXPECT_EQ(at<u32>(kPage + 24), 0x80000000u);  // (tsc << 2) / 2
  EXPECT_EQ(at<i8>(kPage + 28), 2);
  inputs.set_tsc_hz(3'000'000'000);
  write_msr(x86::kMsrKvmSystemTimeNew, kPage | 1);
  EXPECT_EQ(at<u32>(kPage + 24), 0xaaaaaaaau);  // (tsc >> 1) * 2 / 3
  EXPECT_EQ(at<i8>(kPage + 28), -1);
}

TEST_F(KvmInterface, ClockPageHasANewVersionEachTime) {
  write_msr(x86::kMsrKvmSystemTime, kPage | 1);
  write_msr(x86::kMsrKvmSystemTimeNew, kPage | 1);
  EXPECT_EQ(at<u32>(kPage), 4u);
}

TEST_F(KvmInterface, ClockPageIsNotWrittenWhenDisabled) {
  set(kPage, 0x12345678);
  EXPECT_TRUE(write_msr(x86::kMsrKvmSystemTimeNew, kPage));
  EXPECT_EQ(at<u32>(kPage), 0x12345678u);
  EXPECT_EQ(kvm.read_msr(x86::kMsrKvmSystemTime), kPage);
}

TEST_F(KvmInterface, ClockPageOutsideRamIsDropped) {
  EXPECT_TRUE(write_msr(x86::kMsrKvmSystemTimeNew, (kMiB - 16) | 1));
  EXPECT_EQ(at<u32>(kMiB - 16), 0u);
}

TEST_F(KvmInterface, WallClockIsTheDateOfMachineTimeZero) {
  inputs.set_wall_clock(1'700'000'000);
  EXPECT_TRUE(write_msr(x86::kMsrKvmWallClockNew, kPage));
  EXPECT_EQ(at<u32>(kPage), 2u);
  EXPECT_EQ(at<u32>(kPage + 4), 1'700'000'000u);
  EXPECT_EQ(at<u32>(kPage + 8), 0u);
}

TEST_F(KvmInterface, NoTimeIsStolen) {
  set(kPage + 4, 0xffffffff);
  EXPECT_TRUE(write_msr(x86::kMsrKvmStealTime, kPage | 1));
  EXPECT_EQ(at<u64>(kPage), 0u);
}

TEST_F(KvmInterface, ReservedBitsAreRefusedAndChangeNothing) {
  EXPECT_FALSE(write_msr(x86::kMsrKvmPvEoiEn, kPage | 3));
  EXPECT_FALSE(write_msr(x86::kMsrKvmStealTime, kPage | 0x21));
  EXPECT_FALSE(write_msr(x86::kMsrKvmPollControl, 2));
  EXPECT_EQ(kvm.read_msr(x86::kMsrKvmPvEoiEn), 0u);
  EXPECT_EQ(kvm.read_msr(x86::kMsrKvmStealTime), 0u);
  EXPECT_EQ(kvm.read_msr(x86::kMsrKvmPollControl), 1u);
}

TEST_F(KvmInterface, OtherMsrsAreNotItsOwn) {
  EXPECT_EQ(kvm.read_msr(x86::kMsrKvmAsyncPfEn), std::nullopt);
  EXPECT_EQ(kvm.write_msr(x86::kMsrKvmAsyncPfEn, 0, 0), std::nullopt);
}

TEST_F(KvmInterface, EoiOfALoneInterruptMayBeSkipped) {
  write_msr(x86::kMsrKvmPvEoiEn, kPage | 1);
  request(0x41);
  EXPECT_EQ(take_interrupt(), 0x41);
  EXPECT_EQ(at<u32>(kPage), 1u);
}

TEST_F(KvmInterface, ClearedWordCountsAsEoi) {
  write_msr(x86::kMsrKvmPvEoiEn, kPage | 1);
  request(0x41);
  take_interrupt();
  set(kPage, 0);
  request(0x41);
  EXPECT_EQ(take_interrupt(), 0x41);
}

TEST_F(KvmInterface, OfferIsWithdrawnWhenAnotherInterruptWaits) {
  write_msr(x86::kMsrKvmPvEoiEn, kPage | 1);
  request(0x41);
  take_interrupt();
  request(0x42);
  kvm.before_interrupt();
  EXPECT_EQ(at<u32>(kPage), 0u);
  EXPECT_FALSE(lapic.has_interrupt());  // 41h is still in service
  lapic.eoi();
  EXPECT_EQ(take_interrupt(), 0x42);
}

TEST_F(KvmInterface, EoiOfANestedInterruptIsNotSkipped) {
  write_msr(x86::kMsrKvmPvEoiEn, kPage | 1);
  request(0x41);
  request(0x81);
  EXPECT_EQ(take_interrupt(), 0x81);
  EXPECT_EQ(at<u32>(kPage), 0u);
}

TEST_F(KvmInterface, WordOfTheGuestIsLeftAloneUntilAnInterruptWaits) {
  write_msr(x86::kMsrKvmPvEoiEn, kPage | 1);
  request(0x41);
  take_interrupt();
  kvm.before_interrupt();
  EXPECT_EQ(at<u32>(kPage), 1u);
}

TEST_F(KvmInterface, OtherBitsOfTheWordAreTheGuests) {
  write_msr(x86::kMsrKvmPvEoiEn, kPage | 1);
  set(kPage, 0xabcd0000);
  request(0x41);
  take_interrupt();
  EXPECT_EQ(at<u32>(kPage), 0xabcd0001u);
  request(0x42);
  kvm.before_interrupt();
  EXPECT_EQ(at<u32>(kPage), 0xabcd0000u);
}

TEST_F(KvmInterface, NothingIsSkippedUnlessEnabled) {
  write_msr(x86::kMsrKvmPvEoiEn, kPage);
  request(0x41);
  take_interrupt();
  EXPECT_EQ(at<u32>(kPage), 0u);
}

TEST_F(KvmInterface, AnExtIntLeavesTheOfferForTheInterruptBeforeIt) {
  FakeExternalSource pic;
  lapic.set_external_source(&pic);
  write_msr(x86::kMsrKvmPvEoiEn, kPage | 1);
  request(0x41);
  take_interrupt();
  set(kPage, 0);
  bus.deliver({.destination = 0, .mode = DeliveryMode::kExtInt});
  EXPECT_EQ(take_interrupt(), 0x30);
  EXPECT_EQ(at<u32>(kPage), 0u);
  request(0x41);
  EXPECT_EQ(take_interrupt(), 0x41);
}

TEST_F(KvmInterface, SkippedEoiIsPartOfTheState) {
  write_msr(x86::kMsrKvmPvEoiEn, kPage | 1);
  request(0x41);
  take_interrupt();
  KvmParavirt copy(*memory, inputs, bus, lapic);
  ASSERT_TRUE(load(copy, save(kvm)));
  set(kPage, 0);
  request(0x41);
  copy.before_interrupt();
  EXPECT_TRUE(lapic.has_interrupt());
}

TEST_F(KvmInterface, UnknownHypercallsSayNoSuchCall) {
  const std::array<u64, 4> none = {};
  EXPECT_EQ(kvm.hypercall(0, none), kNoSuchHypercall);
  EXPECT_EQ(kvm.hypercall(~u64{0}, none), kNoSuchHypercall);
  EXPECT_EQ(kvm.hypercall(5, none), 0u);
}

TEST_F(KvmInterface, InterruptsGoToTheCpusOfTheMap) {
  EXPECT_EQ(kvm.hypercall(10, std::array<u64, 4>{1, 0, 0, 0x51}), 1u);
  EXPECT_EQ(lapic.acknowledge(), 0x51);
}

TEST_F(KvmInterface, InterruptsToAbsentCpusAreNotCounted) {
  EXPECT_EQ(kvm.hypercall(10, std::array<u64, 4>{2, 1, 0, 0x51}), 0u);
  EXPECT_EQ(kvm.hypercall(10, std::array<u64, 4>{1, 0, 7, 0x51}), 0u);
  EXPECT_FALSE(lapic.has_interrupt());
}

TEST_F(KvmInterface, ResetForgetsEveryPage) {
  write_msr(x86::kMsrKvmSystemTimeNew, kPage | 1);
  write_msr(x86::kMsrKvmPvEoiEn, kPage | 1);
  write_msr(x86::kMsrKvmPollControl, 0);
  kvm.reset();
  EXPECT_EQ(kvm.read_msr(x86::kMsrKvmSystemTimeNew), 0u);
  EXPECT_EQ(kvm.read_msr(x86::kMsrKvmPvEoiEn), 0u);
  EXPECT_EQ(kvm.read_msr(x86::kMsrKvmPollControl), 1u);
}

}  // namespace
}  // namespace doppel
