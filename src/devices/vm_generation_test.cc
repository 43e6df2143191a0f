// What a guest finds in the generation and clock pages, at first and after it was copied.
#include "devices/vm_generation.h"

#include <gtest/gtest.h>

#include "base/fake_inputs.h"

namespace doppel {
namespace {

constexpr u64 kPages = 0x10000;
constexpr u64 kClock = kPages + 0x1000;

struct FakeEvents final : GeneralEvents {
  void raise_general_event(unsigned index) override { raised |= 1u << index; }
  unsigned raised = 0;
};

class VmGenerationTest : public testing::Test {
 protected:
  template <class T>
  T at(u64 address) {
    return memory_->read_value<T>(GuestPhys(address)).value();
  }

  std::unique_ptr<GuestMemory> memory_ = GuestMemory::create(kMiB).value();
  FakeInputs inputs_;
  FakeEvents events_;
  VmGeneration generation_{*memory_, inputs_, GuestPhys(kPages)};
};

TEST_F(VmGenerationTest, InstallsAnIdentifierWithoutAnEvent) {
  generation_.install();
  EXPECT_NE(at<u64>(kPages), 0u);
  EXPECT_NE(at<u64>(kPages + 8), 0u);
  EXPECT_EQ(at<u64>(kPages + 16), 0u);
  EXPECT_EQ(events_.raised, 0u);
}

TEST_F(VmGenerationTest, ClockPageSaysWhatItIs) {
  generation_.install();
  EXPECT_EQ(at<u32>(kClock), 0x4b4c4356u);
  EXPECT_EQ(at<u32>(kClock + 4), 4096u);
  EXPECT_EQ(at<u16>(kClock + 8), 1u);
  EXPECT_EQ(at<u8>(kClock + 10), 1u);
  EXPECT_EQ(at<u32>(kClock + 12) % 2, 0u);
  EXPECT_EQ(at<u64>(kClock + 24), 0x100u);
}

TEST_F(VmGenerationTest, ClockPageRelatesTheCounterToUtc) {
  inputs_.set_wall_clock(1'700'000'000);
  inputs_.set_tsc_hz(2'500'000'000);
  inputs_.set_now(Nanoseconds(3'250'000'000));
  generation_.install();
  EXPECT_EQ(at<u64>(kClock + 40), 8'125'000'000u);
  EXPECT_EQ(at<u64>(kClock + 72), 1'700'000'003u);
  EXPECT_EQ(at<u64>(kClock + 80), u64{1} << 62);
  // 2.5e9 ticks of the period are one second: 2^(64 + shift).
  const u128 second = u128{at<u64>(kClock + 48)} * 2'500'000'000;
  const u128 exact = u128{1} << (64 + at<u8>(kClock + 39));
  EXPECT_LE(second, exact);
  EXPECT_GT(second + 2'500'000'000, exact);
  EXPECT_GE(at<u64>(kClock + 48), u64{1} << 63);
}

TEST_F(VmGenerationTest, PeriodOfAPowerOfTwoFits) {
  inputs_.set_tsc_hz(u64{1} << 31);
  generation_.install();
  EXPECT_EQ(at<u64>(kClock + 48), ~u64{0});
}

TEST_F(VmGenerationTest, ChangeIsSeenByBothDevices) {
  generation_.install();
  const u64 identifier = at<u64>(kPages);
  const u32 sequence = at<u32>(kClock + 12);
  const u64 marker = at<u64>(kClock + 16);
  const u64 branch = at<u64>(kClock + 104);
  generation_.change(events_);
  EXPECT_NE(at<u64>(kPages), identifier);
  EXPECT_EQ(at<u32>(kClock + 12), sequence + 2);
  EXPECT_NE(at<u64>(kClock + 16), marker);
  EXPECT_NE(at<u64>(kClock + 104), branch);
  EXPECT_EQ(events_.raised, 1u << 5 | 1u << 6);
}

TEST_F(VmGenerationTest, SurvivesWhatTheGuestWroteIntoThePage) {
  memory_->write_value(GuestPhys(kClock + 12), ~u32{0});
  generation_.change(events_);
  EXPECT_EQ(at<u32>(kClock + 12), 0u);
  EXPECT_EQ(at<u32>(kClock), 0x4b4c4356u);
}

}  // namespace
}  // namespace doppel
