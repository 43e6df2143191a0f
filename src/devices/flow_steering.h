// FlowSteering: which receive queue a frame goes to.
#pragma once

#include <array>
#include <span>

#include "base/types.h"

namespace doppel {

// Answers go to the queue pair on which the driver sent last in the same flow (virtio 1.2 5.1.6.5.6,
// automatic receive steering). Flows are told apart by a hash of addresses and ports that is the same both
// ways. Owned by a card whose back end has one queue.
class FlowSteering {
 public:
  void reset() { queues_.fill(0); }
  // `frame` begins with the Ethernet header; a prefix will do.
  void sent(unsigned queue, std::span<const u8> frame) { queues_[hash(frame)] = static_cast<u8>(queue); }
  unsigned queue_for(std::span<const u8> frame) const { return queues_[hash(frame)]; }

 private:
  static u8 hash(std::span<const u8> frame);
  std::array<u8, 256> queues_{};  // by hash
};

}  // namespace doppel
