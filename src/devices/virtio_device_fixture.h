// VirtioDeviceFixture: one virtio device with a driver, for tests of devices.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "base/fake_inputs.h"
#include "bus/bus_device.h"
#include "state/state_buffer.h"
#include "virtio/test_driver.h"

namespace doppel {

inline constexpr u64 kAllSplitFeatures = ~kVirtioFRingPacked;

// Guest RAM is 8 MiB; the driver takes from 1 MiB on. A test makes its device and calls plug().
class VirtioDeviceFixture : public testing::Test {
 protected:
  VirtioDeviceFixture() : memory_(*GuestMemory::create(8 * kMiB)), timers_(inputs_) {}

  void plug(VirtioDevice& device) {
    core_ = std::make_unique<VirtioTransportCore>(*memory_, device, VirtioOptions{.has_packed = true},
                                                  interrupts_);
    driver_ = std::make_unique<TestDriver>(*memory_, *core_);
  }
  std::vector<u8> save() {
    StateSaver saver;
    core_->visit_state(saver);
    return saver.take();
  }
  bool load(const std::vector<u8>& state) {
    StateLoader loader(state);
    core_->visit_state(loader);
    return loader.finish().has_value();
  }
  u32 config32(u64 offset) {
    std::array<u8, 4> bytes = {};
    core_->read_config(offset, bytes);
    return static_cast<u32>(load_le(bytes));
  }

  std::unique_ptr<GuestMemory> memory_;
  FakeInputs inputs_;
  TimerQueue timers_;
  FakeVirtioInterrupts interrupts_;
  std::unique_ptr<VirtioTransportCore> core_;
  std::unique_ptr<TestDriver> driver_;
};

}  // namespace doppel
