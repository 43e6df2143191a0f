// VirtioFixture: an echo device behind a transport core, with a driver, for tests of the queues.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "state/state_buffer.h"
#include "virtio/echo_device.h"
#include "virtio/test_driver.h"

namespace doppel {

inline constexpr u64 kEveryFeature = ~u64{0};

// Hears of stores to frames marked as code. Owned by a test.
class FakeCodeListener final : public CodeWriteListener {
 public:
  void code_written(GuestPhys address, u64) override { last = address; }
  GuestPhys last;
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
