// PackedRing: the packed virtqueue's one ring and its two event suppression structures. virtio 1.2 section
// 2.8.
#pragma once

#include <string_view>

#include "virtio/descriptor_chain.h"
#include "virtio/ring_layout.h"

namespace doppel {

// The device's side of a packed ring. Positions are a slot and a wrap counter that flips each time round.
// Used elements overwrite slots in ring order, whatever chain they belong to. Owned by VirtQueue; called with
// the device lock held.
class PackedRing {
 public:
  explicit PackedRing(GuestMemory& memory) : memory_(memory) {}

  // False when the areas are not aligned RAM.
  bool enable(const RingLayout& layout);
  void reset();

  // Reads the next available chain into `chain`; kBroken explains itself in `why`.
  RingStatus next(DescriptorChain& chain, std::string_view& why);
  bool has_available() const;
  // The chain that next() gave last, of that many slots, becomes available again.
  void undo(u16 slots);

  // Writes used elements one after another; the first stays hidden, and with it all, until publish().
  void write_used(ChainToken token, u32 written);
  void publish();

  // Asks the driver to notify, or not. True when something is available already.
  bool ask_for_notifications();
  void refuse_notifications();
  bool should_interrupt();

  void visit_state(StateVisitor& visitor);

 private:
  struct Position {
    u16 slot = 0;
    bool wrap = true;
    void advance(u16 slots, u16 size);
    void retreat(u16 slots, u16 size);
    // As event suppression structures hold it, 2.8.14.
    u16 encoded() const { return static_cast<u16>(slot | (wrap ? 0x8000 : 0)); }
  };

  bool walk(DescriptorChain& chain, std::string_view& why);
  bool append_indirect(const PackedDescriptor& table, DescriptorChain& chain, std::string_view& why);
  GuestPhys slot_address(u16 slot) const { return layout_.descriptors + 16 * u64{slot}; }

  GuestMemory& memory_;
  RingLayout layout_;
  Position next_available_;
  Position next_used_;
  u32 unsignalled_slots_ = 0;  // used since should_interrupt() was asked last, at most the ring's size
  bool is_notify_refused_ = false;

  // Between write_used() and publish(): the first element, not yet visible.
  bool has_hidden_ = false;
  GuestPhys hidden_flags_address_;
  u16 hidden_flags_ = 0;
};

}  // namespace doppel
