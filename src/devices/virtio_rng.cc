// Filling buffers with entropy, within the rate limit.
#include "devices/virtio_rng.h"

#include <algorithm>

#include "irq/timer_state.h"

namespace doppel {

VirtioRng::VirtioRng(TimerQueue& timers, RateLimit limit)
    : timers_(timers), bucket_(limit), timer_(timers, [this] { serve(); }) {}

void VirtioRng::reset() {
  timer_.disarm();
  bucket_.reset(timers_.now());
}

void VirtioRng::visit_state(StateVisitor& visitor) {
  bucket_.visit_state(visitor);
  visit_timer(visitor, "timer", timer_);
}

void VirtioRng::read_config(u64, std::span<u8> data) { std::ranges::fill(data, u8{0}); }

void VirtioRng::activate(VirtioHost& host, u64) { host_ = &host; }

void VirtioRng::deactivate() {
  host_ = nullptr;
  timer_.disarm();
}

void VirtioRng::queue_reset(unsigned) { timer_.disarm(); }

void VirtioRng::queue_notified(unsigned) { serve(); }

void VirtioRng::serve() {
  if (host_ == nullptr || timer_.is_armed()) return;
  VirtQueue& queue = host_->queue(0);
  // A driver that refills the queue all the time must not keep the lock for ever.
  for (unsigned served = 0; served < queue.size(); ++served) {
    const auto chain = queue.pop();
    if (!chain) return host_->notify_queue(0);
    if (!fill(queue, *chain)) return host_->notify_queue(0);
  }
  host_->notify_queue(0);
  if (queue.has_available()) timer_.arm(timers_.now() + std::chrono::microseconds(10));
}

bool VirtioRng::fill(VirtQueue& queue, const DescriptorChain& chain) {
  std::array<u8, kLargestFill> bytes;
  const auto wanted = std::span(bytes).first(std::min(chain.writable_size(), kLargestFill));
  const Nanoseconds now = timers_.now();
  if (!bucket_.consume(wanted.size(), now)) {
    queue.undo_pop(chain);
    timer_.arm(bucket_.ready_time(wanted.size(), now));
    return false;
  }
  timers_.inputs().entropy(wanted);
  queue.push(chain, static_cast<u32>(chain.write(0, wanted)));
  return true;
}

}  // namespace doppel
