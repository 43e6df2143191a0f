// VirtioFixture: an echo device behind a transport core, with a driver, for tests of the queues.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "state/state_buffer.h"
#include "virtio/echo_device.h"
#include "virtio/test_driver.h"

namespace doppel {

inline constexpr u64 kEveryFeature = ~u64{0};

// Hears of stores to frames with code. Owned by a test.
class FakeCodeUser final : public CodeFrameUser {
 public:
  explicit FakeCodeUser(CodeFrames& frames) : frames_(frames), id_(frames.add_user(*this)) {}
  ~FakeCodeUser() override { frames_.remove_user(id_); }
  void mark(GuestPhys address) { frames_.mark(address.page_number(), id_); }
  void read_mail() { frames_.handle_mail(id_); }

  void code_written(u64 frame, u64, u64) override { last = GuestPhys(frame << kPageShift); }
  void revoke_writes(u64) override {}
  void everything_written() override {}
  void interrupt() override {}
  GuestPhys last;

 private:
  CodeFrames& frames_;
  CodeFrames::UserId id_;
};

// Runs each test with split and with packed rings. Guest RAM is 4 MiB; the driver takes from 1 MiB on.
class VirtioFixture : public testing::TestWithParam<bool> {
 protected:
  VirtioFixture()
      : memory_(*GuestMemory::create(4 * kMiB)),
        core_(*memory_, device_, {.has_packed = true}, interrupts_),
        driver_(*memory_, core_) {}

  u64 ring_format() const { return GetParam() ? kVirtioFRingPacked : 0; }
  // Everything but the other format.
  u64 features() const { return (kEveryFeature & ~kVirtioFRingPacked) | ring_format(); }
  u64 features_without_events() const { return features() & ~kVirtioFEventIndex; }

  std::unique_ptr<GuestMemory> memory_;
  EchoDevice device_;
  FakeVirtioInterrupts interrupts_;
  VirtioTransportCore core_;
  TestDriver driver_;
};

inline std::string ring_name(const testing::TestParamInfo<bool>& info) {
  return info.param ? "Packed" : "Split";
}

}  // namespace doppel
