// VirtioRng: the entropy device. virtio 1.2 section 5.4.
#pragma once

#include <array>

#include "base/timer_queue.h"
#include "base/token_bucket.h"
#include "virtio/virt_queue.h"
#include "virtio/virtio_device.h"

namespace doppel {

// Fills buffers from the machine's Inputs, as fast as its rate limit (in bytes) allows. Owned by its
// transport; called with the device lock held.
class VirtioRng final : public VirtioDevice {
 public:
  // Of one buffer at most so much is filled; 5.4.6.1 asks for at least one byte.
  static constexpr u64 kLargestFill = 4 * kKiB;

  VirtioRng(TimerQueue& timers, RateLimit limit);

  std::string_view name() const override { return "virtio_rng"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

  u16 device_id() const override { return 4; }
  u64 device_features() const override { return 0; }
  std::span<const u16> queue_sizes() const override { return kQueueSizes; }
  void read_config(u64 offset, std::span<u8> data) override;
  void write_config(u64, std::span<const u8>) override {}
  void activate(VirtioHost& host, u64 features) override;
  void deactivate() override;
  void queue_notified(unsigned index) override;
  bool can_reset_queue() const override { return true; }
  void queue_reset(unsigned index) override;

 private:
  static constexpr std::array<u16, 1> kQueueSizes = {256};

  void serve();
  // False when the limit holds it back: the timer is armed then.
  bool fill(VirtQueue& queue, const DescriptorChain& chain);

  TimerQueue& timers_;
  TokenBucket bucket_;
  Timer timer_;  // when there is work again
  VirtioHost* host_ = nullptr;
};

}  // namespace doppel
