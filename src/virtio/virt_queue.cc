// The queue around its ring: bounds, breaking, notifications, state.
#include "virtio/virt_queue.h"

#include <algorithm>
#include <utility>

namespace doppel {

VirtQueue::VirtQueue(GuestMemory& memory, u16 max_size, std::function<void(std::string_view)> on_broken)
    : memory_(memory),
      max_size_(max_size),
      on_broken_(std::move(on_broken)),
      split_(memory),
      packed_(memory) {}

bool VirtQueue::enable(const RingLayout& layout) {
  reset();
  const bool is_good = layout.size != 0 && layout.size <= max_size_ &&
                       (layout.is_packed ? packed_.enable(layout) : split_.enable(layout));
  if (!is_good) {
    set_broken("ring areas misaligned or not in RAM");
    return false;
  }
  layout_ = layout;
  is_enabled_ = true;
  return true;
}

void VirtQueue::reset() {
  ++life_;
  layout_ = {};
  split_.reset();
  packed_.reset();
  in_flight_ = 0;
  is_enabled_ = false;
  is_notify_disabled_ = false;
  is_broken_ = false;
}

void VirtQueue::set_broken(std::string_view why) {
  if (std::exchange(is_broken_, true)) return;
  on_broken_(why);
}

bool VirtQueue::has_available() {
  if (!is_enabled_ || is_broken_) return false;
  return layout_.is_packed ? packed_.has_available() : split_.has_available();
}

std::optional<DescriptorChain> VirtQueue::pop() {
  if (!is_enabled_ || is_broken_) return std::nullopt;
  std::optional<DescriptorChain> chain(std::in_place, memory_);
  std::string_view why = "more chains in flight than entries";
  auto next = [&] { return layout_.is_packed ? packed_.next(*chain, why) : split_.next(*chain, why); };
  RingStatus status = next();
  if (status == RingStatus::kEmpty && !is_notify_disabled_ && enable_notifications()) status = next();
  if (status == RingStatus::kChain) {
    chain->set_queue_life(life_);
    in_flight_ += chain->token().slots;
    if (in_flight_ <= layout_.size) return chain;
    status = RingStatus::kBroken;
  }
  if (status == RingStatus::kBroken) set_broken(why);
  return std::nullopt;
}

void VirtQueue::undo_pop(const DescriptorChain& chain) {
  if (!is_enabled_ || is_broken_ || chain.queue_life() != life_) return;
  const u16 slots = chain.token().slots;
  if (layout_.is_packed) {
    packed_.undo(slots);
  } else {
    split_.undo();
  }
  in_flight_ -= std::min<u32>(slots, in_flight_);
}

void VirtQueue::push(const DescriptorChain& chain, u32 written) {
  const UsedBuffer buffer{&chain, written};
  push_together({&buffer, 1});
}

void VirtQueue::push_together(std::span<const UsedBuffer> buffers) {
  if (!is_enabled_ || is_broken_ || buffers.empty()) return;
  u16 count = 0;
  for (const UsedBuffer& buffer : buffers) {
    if (buffer.chain->queue_life() != life_) continue;
    const u32 written = static_cast<u32>(std::min<u64>(buffer.written, buffer.chain->writable_size()));
    // Back ends write through the pieces without a word.
    buffer.chain->announce_writes(0, written);
    const ChainToken token = buffer.chain->token();
    if (layout_.is_packed) {
      packed_.write_used(token, written);
    } else {
      split_.write_used(count++, token.id, written);
    }
    in_flight_ -= std::min<u32>(token.slots, in_flight_);
  }
  if (layout_.is_packed) {
    packed_.publish();
  } else {
    split_.publish(count);
  }
}

void VirtQueue::disable_notifications() {
  is_notify_disabled_ = true;
  if (!is_enabled_ || is_broken_) return;
  if (layout_.is_packed) {
    packed_.refuse_notifications();
  } else {
    split_.refuse_notifications();
  }
}

bool VirtQueue::enable_notifications() {
  is_notify_disabled_ = false;
  if (!is_enabled_ || is_broken_) return false;
  return layout_.is_packed ? packed_.ask_for_notifications() : split_.ask_for_notifications();
}

bool VirtQueue::should_interrupt() {
  if (!is_enabled_ || is_broken_) return false;
  return layout_.is_packed ? packed_.should_interrupt() : split_.should_interrupt();
}

void VirtQueue::visit_chain(StateVisitor& visitor, DescriptorChain& chain) {
  chain.visit_state(visitor, memory_);
  if (!visitor.is_loading()) return;
  const ChainToken token = chain.token();
  const bool is_good =
      layout_.is_packed ? token.slots <= layout_.size : token.slots == 1 && token.id < layout_.size;
  chain.set_queue_life(life_);
  if (is_good) return;
  chain = DescriptorChain(memory_);
  visitor.reject("descriptor chain of another queue");
}

void VirtQueue::visit_state(StateVisitor& visitor) {
  // The layout came back through enable(); a queue that was broken then has no ring.
  split_.visit_state(visitor);
  packed_.visit_state(visitor);
  visitor.field("in_flight", in_flight_);
  visitor.field("is_notify_disabled", is_notify_disabled_);
  visitor.field("is_broken", is_broken_);
  if (visitor.is_loading() && in_flight_ > layout_.size) {
    in_flight_ = 0;
    visitor.reject("more chains in flight than the queue has entries");
  }
}

}  // namespace doppel
