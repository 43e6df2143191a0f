// SplitRing: the split virtqueue's descriptor table, available and used rings. virtio 1.2 section 2.7.
#pragma once

#include <string_view>

#include "virtio/descriptor_chain.h"
#include "virtio/ring_layout.h"

namespace doppel {

// The device's side of a split ring. All indices run freely modulo 2^16. Owned by VirtQueue; called with the
// device lock held.
class SplitRing {
 public:
  explicit SplitRing(GuestMemory& memory) : memory_(memory) {}

  // False when the areas are not aligned RAM or the size is no power of two.
  bool enable(const RingLayout& layout);
  void reset();

  // Reads the next available chain into `chain`; kBroken explains itself in `why`.
  RingStatus next(DescriptorChain& chain, std::string_view& why);
  bool has_available() const;
  // The chain that next() gave last becomes available again.
  void undo() { --next_available_; }

  // Writes the used element `ahead` places after the last published one; publish() shows `count` of them.
  void write_used(u16 ahead, u16 id, u32 written);
  void publish(u16 count);

  // Asks the driver to notify, or not. True when something is available already.
  bool ask_for_notifications();
  void refuse_notifications();
  bool should_interrupt();

  void visit_state(StateVisitor& visitor);

 private:
  // Follows the chain from the table's entry `head`.
  bool walk(u16 head, DescriptorChain& chain, std::string_view& why);
  bool walk_indirect(const SplitDescriptor& table, DescriptorChain& chain, std::string_view& why);

  u64 place(u16 index) const { return static_cast<u64>(index % layout_.size); }
  // 2.7.6: flags, index, ring[size], used_event.
  GuestPhys available_index() const { return layout_.driver + 2; }
  GuestPhys available_entry(u16 index) const { return layout_.driver + 4 + 2 * place(index); }
  GuestPhys used_event() const { return layout_.driver + 4 + 2 * u64{layout_.size}; }
  // 2.7.8: flags, index, ring[size] of 8 bytes, avail_event.
  GuestPhys used_entry(u16 index) const { return layout_.device + 4 + 8 * place(index); }
  GuestPhys available_event() const { return layout_.device + 4 + 8 * u64{layout_.size}; }

  GuestMemory& memory_;
  RingLayout layout_;
  u16 next_available_ = 0;
  u16 next_used_ = 0;
  u16 signalled_used_ = 0;          // next_used_ when should_interrupt() was asked last
  bool has_signalled_ = false;      // signalled_used_ means something
  bool is_notify_refused_ = false;  // as written to the used ring's flags
};

}  // namespace doppel
