// Reading chains out of a packed ring and writing used elements into it.
#include "virtio/packed_ring.h"

#include <algorithm>
#include <cstddef>

#include "virtio/ring_access.h"

namespace doppel {
namespace {

// 2.8.14: event suppression structures are a position and these flags.
constexpr u16 kEventEnable = 0;
constexpr u16 kEventDisable = 1;
constexpr u16 kEventDescriptor = 2;
constexpr u16 kEventFlagsMask = 3;
constexpr u64 kEventFlagsOffset = 2;

}  // namespace

void PackedRing::Position::advance(u16 slots, u16 size) {
  const u32 sum = u32{slot} + slots;
  wrap = wrap != (sum >= size);
  slot = static_cast<u16>(sum >= size ? sum - size : sum);
}

void PackedRing::Position::retreat(u16 slots, u16 size) {
  wrap = wrap != (slots > slot);
  slot = static_cast<u16>(slots > slot ? slot + size - slots : slot - slots);
}

bool PackedRing::enable(const RingLayout& layout) {
  reset();
  if (layout.size == 0 || layout.size > kMaxQueueSize) return false;
  if (!is_ring_area(memory_, layout.descriptors, 16 * u64{layout.size}, 16) ||
      !is_ring_area(memory_, layout.driver, 4, 4) || !is_ring_area(memory_, layout.device, 4, 4)) {
    return false;
  }
  layout_ = layout;
  return true;
}

void PackedRing::reset() {
  layout_ = {};
  next_available_ = {};
  next_used_ = {};
  unsignalled_slots_ = 0;
  is_notify_refused_ = false;
  has_hidden_ = false;
}

bool PackedRing::has_available() const {
  const GuestPhys flags_address = slot_address(next_available_.slot) + offsetof(PackedDescriptor, flags);
  const u16 flags = load_ring_u16(memory_.host(flags_address));
  // 2.8.1: available when the first bit equals the driver's wrap counter and the second does not.
  return ((flags & kPackedAvailable) != 0) == next_available_.wrap &&
         ((flags & kPackedUsed) != 0) != next_available_.wrap;
}

RingStatus PackedRing::next(DescriptorChain& chain, std::string_view& why) {
  if (!has_available()) return RingStatus::kEmpty;
  if (!walk(chain, why)) return RingStatus::kBroken;
  next_available_.advance(chain.token().slots, layout_.size);
  return RingStatus::kChain;
}

bool PackedRing::walk(DescriptorChain& chain, std::string_view& why) {
  Position position = next_available_;
  for (u16 slots = 1; slots <= layout_.size; ++slots) {
    const auto descriptor = load_descriptor<PackedDescriptor>(memory_.host(slot_address(position.slot)));
    const bool has_next = (descriptor.flags & kDescriptorNext) != 0;
    if ((descriptor.flags & kDescriptorIndirect) != 0) {
      if (slots != 1 || has_next) {
        why = "indirect descriptor inside a chain";
        return false;
      }
      if (!append_indirect(descriptor, chain, why)) return false;
    } else if (!chain.append(GuestPhys(descriptor.address), descriptor.length,
                             (descriptor.flags & kDescriptorWrite) != 0)) {
      why = "descriptor not in RAM or out of order";
      return false;
    }
    if (!has_next) {
      // 2.8.6: the buffer id is in the last descriptor.
      chain.set_token({.id = descriptor.id, .slots = slots});
      return true;
    }
    position.advance(1, layout_.size);
  }
  why = "descriptor chain longer than the ring";
  return false;
}

bool PackedRing::append_indirect(const PackedDescriptor& table, DescriptorChain& chain,
                                 std::string_view& why) {
  const GuestPhys base(table.address);
  if (!layout_.has_indirect || !is_indirect_table(memory_, base, table.length)) {
    why = "impossible indirect table";
    return false;
  }
  // 2.8.7: all of the table in order; only the write flag counts.
  for (u64 offset = 0; offset < table.length; offset += sizeof(PackedDescriptor)) {
    const auto descriptor = load_descriptor<PackedDescriptor>(memory_.host(base + offset));
    if ((descriptor.flags & kDescriptorIndirect) != 0 ||
        !chain.append(GuestPhys(descriptor.address), descriptor.length,
                      (descriptor.flags & kDescriptorWrite) != 0)) {
      why = "indirect descriptor not in RAM or out of order";
      return false;
    }
  }
  return true;
}

void PackedRing::undo(u16 slots) { next_available_.retreat(slots, layout_.size); }

void PackedRing::write_used(ChainToken token, u32 written) {
  const GuestPhys slot = slot_address(next_used_.slot);
  const u16 flags = static_cast<u16>((next_used_.wrap ? kPackedAvailable | kPackedUsed : 0) |
                                     (written != 0 ? kDescriptorWrite : 0));
  const GuestPhys flags_address = slot + offsetof(PackedDescriptor, flags);
  store_ring_u32(memory_, slot + offsetof(PackedDescriptor, length), written);
  store_ring_u16(memory_, slot + offsetof(PackedDescriptor, id), token.id);
  if (has_hidden_) {
    store_ring_u16(memory_, flags_address, flags);
  } else {
    has_hidden_ = true;
    hidden_flags_address_ = flags_address;
    hidden_flags_ = flags;
  }
  next_used_.advance(token.slots, layout_.size);
  unsignalled_slots_ = std::min<u32>(unsignalled_slots_ + token.slots, layout_.size);
}

void PackedRing::publish() {
  if (has_hidden_) store_ring_u16(memory_, hidden_flags_address_, hidden_flags_);
  has_hidden_ = false;
}

bool PackedRing::ask_for_notifications() {
  if (layout_.has_event_index) {
    store_ring_u16(memory_, layout_.device, next_available_.encoded());
    store_ring_u16(memory_, layout_.device + kEventFlagsOffset, kEventDescriptor);
  } else if (is_notify_refused_) {
    store_ring_u16(memory_, layout_.device + kEventFlagsOffset, kEventEnable);
  }
  is_notify_refused_ = false;
  ring_fence();
  return has_available();
}

void PackedRing::refuse_notifications() {
  if (!is_notify_refused_) store_ring_u16(memory_, layout_.device + kEventFlagsOffset, kEventDisable);
  is_notify_refused_ = true;
}

bool PackedRing::should_interrupt() {
  ring_fence();
  const u32 slots = unsignalled_slots_;
  if (slots == 0) return false;
  unsignalled_slots_ = 0;
  const u16 event_flags = load_ring_u16(memory_.host(layout_.driver + kEventFlagsOffset)) & kEventFlagsMask;
  if (event_flags != kEventDescriptor || !layout_.has_event_index) return event_flags != kEventDisable;
  if (slots >= layout_.size) return true;
  const u16 position = load_ring_u16(memory_.host(layout_.driver));
  // Positions of the round before count backwards from slot 0.
  u16 event = position & 0x7fff;
  if (((position & 0x8000) != 0) != next_used_.wrap) event = static_cast<u16>(event - layout_.size);
  return has_passed_event(event, next_used_.slot, static_cast<u16>(next_used_.slot - slots));
}

void PackedRing::visit_state(StateVisitor& visitor) {
  visitor.field("next_available", next_available_.slot);
  visitor.field("available_wrap", next_available_.wrap);
  visitor.field("next_used", next_used_.slot);
  visitor.field("used_wrap", next_used_.wrap);
  visitor.field("unsignalled_slots", unsignalled_slots_);
  visitor.field("is_notify_refused", is_notify_refused_);
  const u16 size = std::max<u16>(layout_.size, 1);
  if (visitor.is_loading() &&
      (next_available_.slot >= size || next_used_.slot >= size || unsignalled_slots_ > layout_.size)) {
    reset();
    visitor.reject("packed ring position beyond the ring");
  }
}

}  // namespace doppel
