// VirtioDevice: what one kind of virtio device is, without queues, transports and negotiation.
#pragma once

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "state/state_visitor.h"

namespace doppel {

class VirtQueue;

// What a device may ask of the transport it sits behind. Lives as long as the device. Called with the device
// lock held.
class VirtioHost {
 public:
  virtual ~VirtioHost() = default;
  virtual VirtQueue& queue(unsigned index) = 0;
  // Tells the driver that used buffers wait in the queue; suppressed as the driver asked (2.7.10).
  virtual void notify_queue(unsigned index) = 0;
  // The configuration space changed: raises the generation and the configuration interrupt.
  virtual void notify_config() = 0;
};

// Implements one section 5.x of the virtio 1.2 specification. Queue layouts, feature negotiation, interrupts
// and reset are done by virtio/. Owned by the machine; called with the device lock held.
//
// State: the transport visits itself, then the device. When loading, a device that was active is activated
// first, with its queues as they were, then its visit_state() loads what it keeps beside them, chains in
// flight included (VirtQueue::visit_chain); guest RAM may be loaded later, so only resume() issues these
// again.
class VirtioDevice : public Component {
 public:
  // Section 5: 1 network, 2 block, 3 console...
  virtual u16 device_id() const = 0;
  // Offered bits of this device type: 0..23 and 50..127. virtio/ adds those of queues and transport.
  virtual u64 device_features() const = 0;
  // The largest size of each queue; powers of two. The number of queues never changes.
  virtual std::span<const u16> queue_sizes() const = 0;

  // The device-specific configuration space; what lies beyond its end reads 0 and is not written.
  virtual void read_config(u64 offset, std::span<u8> data) = 0;
  virtual void write_config(u64 offset, std::span<const u8> data) = 0;

  // The driver is ready (DRIVER_OK): `features` are the accepted bits. Until deactivate() the queues that the
  // driver enabled may be used.
  virtual void activate(VirtioHost& host, u64 features) = 0;
  // The driver reset the device, or the machine does: requests in flight are forgotten, and completions that
  // arrive later touch no queue and no guest memory.
  virtual void deactivate() = 0;
  // The driver made buffers available in a queue.
  virtual void queue_notified(unsigned index) = 0;

  // True when the device can forget one queue while it goes on with the others (VIRTIO_F_RING_RESET, 2.6.1).
  virtual bool can_reset_queue() const { return false; }
  // The driver resets one queue: as deactivate(), for the requests of this queue.
  virtual void queue_reset(unsigned) {}

  // Counters for people, by name; not part of the state.
  virtual std::vector<std::pair<std::string_view, u64>> counter_values() const { return {}; }
};

}  // namespace doppel
