// Reading chains out of a split ring and writing used elements into it.
#include "virtio/split_ring.h"

#include <bit>

#include "virtio/ring_access.h"

namespace doppel {
namespace {

constexpr u16 kAvailableNoInterrupt = 1;  // 2.7.7
constexpr u16 kUsedNoNotify = 1;          // 2.7.10

}  // namespace

bool SplitRing::enable(const RingLayout& layout) {
  reset();
  const u64 size = layout.size;
  if (!std::has_single_bit(size) || size > kMaxQueueSize) return false;
  if (!is_ring_area(memory_, layout.descriptors, 16 * size, 16) ||
      !is_ring_area(memory_, layout.driver, 6 + 2 * size, 2) ||
      !is_ring_area(memory_, layout.device, 6 + 8 * size, 4)) {
    return false;
  }
  layout_ = layout;
  return true;
}

void SplitRing::reset() {
  layout_ = {};
  next_available_ = 0;
  next_used_ = 0;
  signalled_used_ = 0;
  has_signalled_ = false;
  is_notify_refused_ = false;
}

bool SplitRing::has_available() const {
  return load_ring_u16(memory_.host(available_index())) != next_available_;
}

RingStatus SplitRing::next(DescriptorChain& chain, std::string_view& why) {
  const u16 pending = load_ring_u16(memory_.host(available_index())) - next_available_;
  if (pending == 0) return RingStatus::kEmpty;
  if (pending > layout_.size) {
    why = "available index jumped";
    return RingStatus::kBroken;
  }
  const u16 head = load_ring_u16(memory_.host(available_entry(next_available_)));
  if (head >= layout_.size) {
    why = "head beyond the descriptor table";
    return RingStatus::kBroken;
  }
  if (!walk(head, chain, why)) return RingStatus::kBroken;
  chain.set_token({.id = head, .slots = 1});
  ++next_available_;
  return RingStatus::kChain;
}

bool SplitRing::walk(u16 head, DescriptorChain& chain, std::string_view& why) {
  u16 index = head;
  for (u32 steps = 0; steps < layout_.size; ++steps) {
    const auto descriptor =
        load_descriptor<SplitDescriptor>(memory_.host(layout_.descriptors + 16 * u64{index}));
    if ((descriptor.flags & kDescriptorIndirect) != 0) return walk_indirect(descriptor, chain, why);
    if (!chain.append(GuestPhys(descriptor.address), descriptor.length,
                      (descriptor.flags & kDescriptorWrite) != 0)) {
      why = "descriptor not in RAM or out of order";
      return false;
    }
    if ((descriptor.flags & kDescriptorNext) == 0) return true;
    index = descriptor.next;
    if (index >= layout_.size) {
      why = "next beyond the descriptor table";
      return false;
    }
  }
  why = "descriptor chain with a loop";
  return false;
}

bool SplitRing::walk_indirect(const SplitDescriptor& table, DescriptorChain& chain, std::string_view& why) {
  const GuestPhys base(table.address);
  why = "impossible indirect table";
  // 2.7.5.3.1: only when negotiated, and always last. Its write flag is ignored (2.7.5.3.2).
  if (!layout_.has_indirect || (table.flags & kDescriptorNext) != 0) return false;
  if (!is_indirect_table(memory_, base, table.length)) return false;
  const u32 count = table.length / sizeof(SplitDescriptor);
  u32 index = 0;
  for (u32 steps = 0; steps < count; ++steps) {
    const auto descriptor = load_descriptor<SplitDescriptor>(memory_.host(base + 16 * u64{index}));
    if ((descriptor.flags & kDescriptorIndirect) != 0) return false;
    if (!chain.append(GuestPhys(descriptor.address), descriptor.length,
                      (descriptor.flags & kDescriptorWrite) != 0)) {
      why = "indirect descriptor not in RAM or out of order";
      return false;
    }
    if ((descriptor.flags & kDescriptorNext) == 0) return true;
    index = descriptor.next;
    if (index >= count) return false;
  }
  why = "indirect chain with a loop";
  return false;
}

void SplitRing::write_used(u16 ahead, u16 id, u32 written) {
  const GuestPhys entry = used_entry(static_cast<u16>(next_used_ + ahead));
  store_ring_u32(memory_, entry, id);
  store_ring_u32(memory_, entry + 4, written);
}

void SplitRing::publish(u16 count) {
  next_used_ = static_cast<u16>(next_used_ + count);
  store_ring_u16(memory_, layout_.device + 2, next_used_);
}

bool SplitRing::ask_for_notifications() {
  if (layout_.has_event_index) {
    store_ring_u16(memory_, available_event(), next_available_);
  } else if (is_notify_refused_) {
    store_ring_u16(memory_, layout_.device, 0);
  }
  is_notify_refused_ = false;
  ring_fence();
  return has_available();
}

void SplitRing::refuse_notifications() {
  // With event indices the flag must stay 0 (2.7.10.1): an index that is not moved on is passed only once.
  if (!layout_.has_event_index && !is_notify_refused_) store_ring_u16(memory_, layout_.device, kUsedNoNotify);
  is_notify_refused_ = true;
}

bool SplitRing::should_interrupt() {
  ring_fence();
  const u16 old_index = signalled_used_;
  const bool is_first = !has_signalled_;
  if (next_used_ == old_index && !is_first) return false;
  signalled_used_ = next_used_;
  has_signalled_ = true;
  if (!layout_.has_event_index) {
    return (load_ring_u16(memory_.host(layout_.driver)) & kAvailableNoInterrupt) == 0;
  }
  return is_first || has_passed_event(load_ring_u16(memory_.host(used_event())), next_used_, old_index);
}

void SplitRing::visit_state(StateVisitor& visitor) {
  visitor.field("next_available", next_available_);
  visitor.field("next_used", next_used_);
  visitor.field("signalled_used", signalled_used_);
  visitor.field("has_signalled", has_signalled_);
  visitor.field("is_notify_refused", is_notify_refused_);
}

}  // namespace doppel
