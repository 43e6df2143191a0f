// VirtQueue: one queue between driver and device: what a virtio device uses, whatever the ring's format.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "virtio/descriptor_chain.h"
#include "virtio/packed_ring.h"
#include "virtio/ring_layout.h"
#include "virtio/split_ring.h"

namespace doppel {

// A buffer that the device is done with. `written` counts bytes from the start of the writable part; what is
// beyond its end does not count.
struct UsedBuffer {
  const DescriptorChain* chain;
  u32 written;
};

// A virtqueue (virtio 1.2 section 2.6) in split (2.7) or packed (2.8) format. Rings are hostile: whatever is
// wrong with one breaks the queue, which tells its owner once; a broken queue gives and takes nothing until
// the driver resets. No more chains are in flight than the queue has entries. Owned by VirtioTransportCore,
// which configures it; devices use the part marked so. Called with the device lock held.
class VirtQueue {
 public:
  // `on_broken` hears why, for the log.
  VirtQueue(GuestMemory& memory, u16 max_size, std::function<void(std::string_view)> on_broken);

  // --- for devices, between activate() and deactivate() ---

  // False while the driver has not set the queue up (or has reset it): pop() gives nothing.
  bool is_enabled() const { return is_enabled_; }
  u16 size() const { return layout_.size; }
  GuestMemory& memory() const { return memory_; }

  // The next chain that the driver made available. When there is none, the driver is asked to notify at the
  // next one, unless notifications are disabled.
  std::optional<DescriptorChain> pop();
  // True when pop() would find something. Asks for no notification.
  bool has_available();
  // Takes back the last pop()s, latest first: the chains are available again.
  void undo_pop(const DescriptorChain& chain);

  // Gives a chain back; the driver sees it at once. A chain popped before a reset is ignored.
  // VirtioHost::notify_queue() then tells the driver.
  void push(const DescriptorChain& chain, u32 written);
  // Several at once: the driver sees all or none of them (a packet in mergeable buffers).
  void push_together(std::span<const UsedBuffer> buffers);

  // While disabled, the driver need not notify (2.7.7, 2.7.10, 2.8.21): the device polls. Enabled at first.
  // enable_notifications() is true when chains became available meanwhile: then no notification will come
  // for these, pop again.
  void disable_notifications();
  bool enable_notifications();

  // The driver broke a rule of this device type that nothing else can answer.
  void set_broken(std::string_view why);
  bool is_broken() const { return is_broken_; }

  // A chain in flight in the device's own visit_state(): saves it, or makes it anew from loaded state, to be
  // issued again from Component::resume(). A chain that cannot exist is rejected and left empty.
  void visit_chain(StateVisitor& visitor, DescriptorChain& chain);

  // --- for the transport ---

  u16 max_size() const { return max_size_; }
  // Starts from an empty ring. False, and broken, when the rings do not lie in RAM or are misaligned.
  bool enable(const RingLayout& layout);
  // Forgets everything; the queue is as at power-on.
  void reset();
  // Whether the driver wants to be told of what was pushed since the last call (2.7.7.2, 2.7.10, 2.8.10).
  bool should_interrupt();
  // Of an enabled or reset queue; the layout is the transport's own state.
  void visit_state(StateVisitor& visitor);

 private:
  GuestMemory& memory_;
  u16 max_size_;
  std::function<void(std::string_view)> on_broken_;
  RingLayout layout_;
  SplitRing split_;
  PackedRing packed_;
  u32 life_ = 0;       // raised by each reset
  u32 in_flight_ = 0;  // ring slots of chains popped and not pushed
  bool is_enabled_ = false;
  bool is_notify_disabled_ = false;
  bool is_broken_ = false;
};

}  // namespace doppel
