// TestDriver: a small virtio driver for tests of devices, over split or packed rings.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "virtio/test_ring.h"
#include "virtio/transport_core.h"

namespace doppel {

// Counts what reaches the driver. Owned by a test.
class FakeVirtioInterrupts final : public VirtioInterrupts {
 public:
  void queue_interrupt(unsigned queue) override {
    ++queue_interrupts;
    queues.push_back(queue);
  }
  void config_interrupt() override { ++config_interrupts; }
  unsigned queue_interrupts = 0;
  unsigned config_interrupts = 0;
  std::vector<unsigned> queues;  // that interrupted, in order
};

// Negotiates with a device through VirtioTransportCore and moves buffers. Rings and buffers come from guest
// RAM above `start`. Owned by a test.
class TestDriver {
 public:
  TestDriver(GuestMemory& memory, VirtioTransportCore& core, u64 start = kMiB)
      : memory_(memory), core_(core), allocator_(memory, start) {}

  // Resets, accepts `features` (those offered; VERSION_1 is added) and sets up every queue with at most
  // `queue_size` entries. False when the device refuses.
  bool start(u64 features, u16 queue_size = 256) {
    core_.set_status(0);
    core_.set_status(virtio_status::kAcknowledge | virtio_status::kDriver);
    const u64 offered = core_.device_features(0) | u64{core_.device_features(1)} << 32;
    features = (features & offered) | kVirtioFVersion1;
    core_.set_driver_features(0, static_cast<u32>(features));
    core_.set_driver_features(1, static_cast<u32>(features >> 32));
    core_.set_status(virtio_status::kFeaturesOk);
    if ((core_.status() & virtio_status::kFeaturesOk) == 0) return false;
    rings_.clear();
    for (unsigned index = 0; index < core_.queue_count(); ++index) {
      rings_.push_back(make_ring(features, std::min(queue_size, core_.max_queue_size(index))));
      setup_queue(index);
    }
    core_.set_status(virtio_status::kDriverOk);
    return true;
  }

  // Writes the registers of a queue that is not enabled, and enables it.
  void setup_queue(unsigned index) {
    TestRing& ring = *rings_[index];
    *core_.writable_queue_registers(index) = {.size = ring.size(),
                                              .descriptors = ring.descriptors.value(),
                                              .driver = ring.driver.value(),
                                              .device = ring.device.value()};
    core_.enable_queue(index);
  }

  // Sets up a queue that was reset, with an empty ring.
  void setup_queue_again(unsigned index) {
    const u64 features = core_.driver_features(0) | u64{core_.driver_features(1)} << 32;
    rings_[index] = make_ring(features, rings_[index]->size());
    setup_queue(index);
  }

  TestRing& ring(unsigned index) { return *rings_[index]; }
  GuestPhys allocate(u64 size, u64 alignment = 16) { return allocator_.allocate(size, alignment); }

  // A buffer in guest RAM with these bytes / of this length, as one piece of a chain.
  TestPiece readable(std::string_view text) {
    const GuestPhys at = allocate(std::max<u64>(text.size(), 1));
    memory_.write(at, {reinterpret_cast<const u8*>(text.data()), text.size()});
    return {at, static_cast<u32>(text.size()), false};
  }
  TestPiece writable(u32 length) { return {allocate(std::max<u64>(length, 1)), length, true}; }
  template <class T>
  TestPiece readable_value(const T& value) {
    return readable({reinterpret_cast<const char*>(&value), sizeof(value)});
  }

  // Makes a chain available and notifies if the device wants it; the result is the buffer's id.
  u16 send(unsigned queue, std::vector<TestPiece> pieces, bool is_indirect = false) {
    const auto id = ring(queue).add(pieces, is_indirect);
    VERIFY(id.has_value());
    kick(queue);
    return *id;
  }
  void kick(unsigned queue) {
    if (ring(queue).wants_kick()) core_.notify(queue);
  }
  std::optional<TestUsed> take(unsigned queue) { return ring(queue).take(); }

  std::string text(GuestPhys at, u64 size) const {
    std::string result(size, '\0');
    VERIFY(memory_.read(at, {reinterpret_cast<u8*>(result.data()), size}));
    return result;
  }
  std::string text(const TestPiece& piece) const { return text(piece.address, piece.length); }

 private:
  std::unique_ptr<TestRing> make_ring(u64 features, u16 size) {
    std::unique_ptr<TestRing> ring;
    if ((features & kVirtioFRingPacked) != 0) {
      ring = std::make_unique<TestPackedRing>(memory_, allocator_, size);
    } else {
      ring = std::make_unique<TestSplitRing>(memory_, allocator_, size);
    }
    ring->has_event_index = (features & kVirtioFEventIndex) != 0;
    for (const GuestPhys area : {ring->descriptors, ring->driver, ring->device}) {
      const std::vector<u8> zeroes(4);
      memory_.write(area, zeroes);
    }
    return ring;
  }

  GuestMemory& memory_;
  VirtioTransportCore& core_;
  TestAllocator allocator_;
  std::vector<std::unique_ptr<TestRing>> rings_;
};

}  // namespace doppel
