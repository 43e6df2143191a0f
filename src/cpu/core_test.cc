// Rules of the architecture that no guest can show: what reaches devices, and where faults end.
#include "cpu/core.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace doppel {
namespace {

// A machine without devices that remembers the largest access.
class EmptyPlatform final : public CpuPlatform {
 public:
  u64 largest_access = 0;
  u64 accesses = 0;

  void read_mmio(GuestPhys, std::span<u8> data) override {
    note(data.size());
    std::ranges::fill(data, u8{0});
  }
  void write_mmio(GuestPhys, std::span<const u8> data) override { note(data.size()); }
  u32 read_port(u16, unsigned) override { return 0; }
  void write_port(u16, unsigned, u32) override {}
  bool has_interrupt() override { return false; }
  std::optional<u8> acknowledge_interrupt() override { return std::nullopt; }
  u8 task_priority() override { return 0; }
  void set_task_priority(u8) override {}
  std::optional<u64> read_msr(u32) override { return std::nullopt; }
  bool write_msr(u32, u64) override { return false; }
  void tsc_offset_changed(u64) override {}
  u64 hypercall(u64, std::span<const u64, 4>) override { return 0; }
  u64 tsc() override { return 0; }
  u64 entropy() override { return 0; }

 private:
  void note(u64 size) {
    largest_access = std::max(largest_access, size);
    ++accesses;
  }
};

constexpr u64 kDevice = 0xfee00000;

class CoreTest : public testing::Test {
 protected:
  CoreTest() {
    reset_cpu_state(core_.state, cpuid_.signature(), false);
    core_.state.cr0 = x86::kCr0Pe | x86::kCr0Et;
    core_.update_mode();
  }

  std::unique_ptr<GuestMemory> memory_ = std::move(*GuestMemory::create(2 * kMiB));
  EmptyPlatform platform_;
  x86::CpuidTable cpuid_ = *x86::CpuidTable::create("x86-64-v3,+la57", {});
  Core core_{*memory_, platform_, cpuid_};
};

TEST_F(CoreTest, PageDirectoryPointersInADeviceAreReadEightBytesAtATime) {
  core_.state.cr0 |= x86::kCr0Pg;
  core_.state.cr4 |= x86::kCr4Pae;
  EXPECT_TRUE(core_.set_cr3(kDevice));
  EXPECT_EQ(platform_.accesses, 4u);
  EXPECT_EQ(platform_.largest_access, 8u);
}

TEST_F(CoreTest, LargeAccessesReachDevicesEightBytesAtATime) {
  std::array<u8, 512> data;
  EXPECT_TRUE(core_.read_linear(kDevice + 0xf00, data.data(), data.size(), kSupervisor));
  EXPECT_EQ(platform_.accesses, 64u);
  EXPECT_EQ(platform_.largest_access, 8u);
}

TEST_F(CoreTest, LinearAddressesWrapOutsideLongMode) {
  ASSERT_TRUE(memory_->write_value<u32>(GuestPhys(0), 0x44332211));
  u64 value = 0;
  EXPECT_TRUE(core_.read_linear(0xfffffffe, &value, 4, kSupervisor));
  EXPECT_EQ(value, 0x22110000u);
}

TEST_F(CoreTest, AFailedWriteChangesNeitherPage) {
  // 32-bit paging: page 0x1000 is mapped, 0x2000 is not.
  ASSERT_TRUE(memory_->write_value<u32>(GuestPhys(0x10000), 0x11003));
  ASSERT_TRUE(memory_->write_value<u32>(GuestPhys(0x11004), 0x1003));
  core_.state.cr3 = 0x10000;
  ASSERT_TRUE(core_.set_cr0(core_.state.cr0 | x86::kCr0Pg));
  const u64 data = ~u64{0};
  EXPECT_FALSE(core_.write_linear(0x1ffc, &data, 8, kSupervisor));
  EXPECT_EQ(core_.fault.vector, x86::kVectorPf);
  EXPECT_EQ(core_.state.cr2, 0x2000u);
  EXPECT_EQ(memory_->read_value<u32>(GuestPhys(0x1ffc)), 0u);
}

TEST_F(CoreTest, BreakpointsAtTheEndOfTheAddressSpaceHit) {
  core_.state.dr[1] = ~u64{7};
  core_.state.dr7 = 0x400 | 2 << 2 | 0xbu << 20;  // eight bytes, reads and writes
  core_.note_data_access(~u64{0}, 1, false);
  EXPECT_EQ(core_.state.pending_debug, 2u);
}

TEST_F(CoreTest, BreakpointsOnWritesIgnoreReads) {
  core_.state.dr[0] = 0x1000;
  core_.state.dr7 = 0x400 | 2 | 1 << 16;
  core_.note_data_access(0x1000, 1, false);
  EXPECT_EQ(core_.state.pending_debug, 0u);
  core_.note_data_access(0x0ffc, 8, true);
  EXPECT_EQ(core_.state.pending_debug, 1u);
}

TEST_F(CoreTest, ExceptionInAnExceptionIsADoubleFaultAndThenShutdown) {
  core_.state.idtr.limit = 0;
  EXPECT_FALSE(core_.deliver({x86::kVectorGp, true, 0}, EventSource::kException, 0x1234));
  EXPECT_EQ(core_.state.activity, Activity::kShutdown);
}

TEST_F(CoreTest, WalkOfEntriesInADeviceEnds) {
  core_.state.cr0 |= x86::kCr0Pg;
  core_.state.cr3 = kDevice;
  u32 value;
  EXPECT_FALSE(core_.read_linear(0x5000, &value, 4, kSupervisor));
  EXPECT_EQ(core_.fault.vector, x86::kVectorPf);
}

}  // namespace
}  // namespace doppel
