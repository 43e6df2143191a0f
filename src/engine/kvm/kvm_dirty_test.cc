// Which frames a guest wrote, by KVM's dirty rings and by its log. Code is 16-bit.
#include "engine/kvm/kvm_dirty.h"

#include "engine/kvm/kvm_fixture.h"

namespace doppel::kvm {
namespace {

constexpr u8 kHlt = 0xf4;
constexpr u64 kFrame = 0x100000;
constexpr u64 kMemory = 32 * kMiB;
constexpr u64 kFrames = (kMemory - kFrame) / kPageSize;
static_assert(kFrames > DirtyRing::kEntries);

class KvmDirtyTest : public KvmTest, public testing::WithParamInterface<DirtyTracking> {
 protected:
  void SetUp() override {
    memory_ = std::move(*GuestMemory::create(kMemory));
    make(GetParam());
    if (IsSkipped() || GetParam() == DirtyTracking::kLog || vm_->has_dirty_rings()) return;
    GTEST_SKIP() << "this KVM lacks KVM_CAP_DIRTY_LOG_RING, or is software and overruns its rings";
  }
  std::vector<u64> collect() {
    std::vector<u64> frames;
    EXPECT_TRUE(vm_->collect_dirty([&](GuestPhys frame) { frames.push_back(frame.value()); }));
    return frames;
  }
  u64 full_rings() {
    const auto all = vcpu_->statistics();
    return std::ranges::find(all, "full_dirty_rings", [](const auto& one) { return one.first; })->second;
  }
  // Writes a byte to each frame from `first` to the end of RAM, in flat 16-bit code.
  void write_frames_from(u64 first) {
    CpuState state = real_mode();
    state.segment(x86::kDs) = {.selector = 0, .attributes = 0x93, .limit = 0xffff, .base = first};
    // inc byte [edi]; add edi, 1000h; cmp edi, ecx; jb start; hlt; with a limit of 4 GiB
    put(kCode,
        {0x67, 0xfe, 0x07, 0x66, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, 0x66, 0x39, 0xcf, 0x72, 0xf1, kHlt});
    state.segment(x86::kDs).limit = 0xffffffff;
    state.segment(x86::kDs).attributes = 0x8093;
    state.gpr[x86::kRcx] = kMemory - first;
    vcpu_->load(state);
    ASSERT_EQ(vcpu_->run({.instructions = ~u64{0}}).reason, ExitReason::kHalted);
  }
};

TEST_P(KvmDirtyTest, HasTheFramesTheGuestWrote) {
  ASSERT_TRUE(vm_->start_dirty_log());
  run({0xc6, 0x06, 0x00, 0x50, 0x77, kHlt});  // mov byte [0x5000], 0x77
  const std::vector<u64> frames = collect();
  EXPECT_EQ(std::ranges::count(frames, 0x5000u), 1);
  EXPECT_EQ(std::ranges::count(frames, 0x6000u), 0);
  EXPECT_TRUE(collect().empty());
  EXPECT_TRUE(vm_->stop_dirty_log());
}

TEST_P(KvmDirtyTest, AFrameIsWatchedAgainAfterItWasCollected) {
  ASSERT_TRUE(vm_->start_dirty_log());
  run({0xc6, 0x06, 0x00, 0x50, 0x77, kHlt});
  collect();
  run({0xc6, 0x06, 0x00, 0x50, 0x78, kHlt});
  EXPECT_EQ(std::ranges::count(collect(), 0x5000u), 1);
}

TEST_P(KvmDirtyTest, NothingIsNotedBeforeTheStartAndAfterTheStop) {
  run({0xc6, 0x06, 0x00, 0x50, 0x77, kHlt});
  ASSERT_TRUE(vm_->start_dirty_log());
  EXPECT_TRUE(collect().empty());
  ASSERT_TRUE(vm_->stop_dirty_log());
  run({0xc6, 0x06, 0x00, 0x60, 0x77, kHlt});
  ASSERT_TRUE(vm_->start_dirty_log());
  EXPECT_TRUE(collect().empty());
}

TEST_P(KvmDirtyTest, HasEveryFrameOfMoreThanARingHolds) {
  ASSERT_TRUE(vm_->start_dirty_log());
  write_frames_from(kFrame);
  const std::vector<u64> frames = collect();
  EXPECT_EQ(std::ranges::count_if(frames, [](u64 frame) { return frame >= kFrame; }),
            static_cast<std::ptrdiff_t>(kFrames));
  EXPECT_EQ(full_rings() != 0, vm_->has_dirty_rings());
}

INSTANTIATE_TEST_SUITE_P(Trackings, KvmDirtyTest, testing::Values(DirtyTracking::kBest, DirtyTracking::kLog),
                         [](const auto& tracking) {
                           return tracking.param == DirtyTracking::kLog ? "Log" : "Rings";
                         });

}  // namespace
}  // namespace doppel::kvm
