// Putting off the network card's interrupts, with timers that bound it.
#include "devices/net_interrupts.h"

#include <utility>

#include "irq/timer_state.h"
#include "virtio/virt_queue.h"

namespace doppel {

NetInterrupts::NetInterrupts(TimerQueue& timers)
    : timers_(timers),
      received_timer_(
          timers, [this] { announce_received(); }, TimerKind::kAtRest),
      sent_timer_(timers, [this] { announce_sent(); }, TimerKind::kAtRest) {}

void NetInterrupts::stop() {
  host_ = nullptr;
  received_ = 0;
  sent_ = 0;
  has_arrived_ = false;
  received_timer_.disarm();
  sent_timer_.disarm();
}

void NetInterrupts::forget(unsigned queue) {
  const u32 bit = u32{1} << (queue / 2 % 32);
  (queue % 2 == 0 ? received_ : sent_) &= ~bit;
}

void NetInterrupts::begin_sending() {
  announce_sent();
  is_sending_ = true;
  sent_frames_ = 0;
  sent_bytes_ = 0;
  answered_bytes_ = 0;
}

void NetInterrupts::sent(u64 size) {
  ++sent_frames_;
  sent_bytes_ += size;
}

void NetInterrupts::end_sending(unsigned pair) {
  is_sending_ = false;
  if (sent_frames_ == 0) return;
  sent_ |= u32{1} << pair;
  const bool is_bulk = answered_bytes_ * kBulkRatio <= sent_bytes_;
  if (!is_bulk) announce_received();
  // A driver that has filled the queue may be waiting for room.
  if (answered_bytes_ == 0 || sent_frames_ >= host_->queue(2 * pair + 1).size() / 2u) return announce_sent();
  const Nanoseconds now = timers_.now();
  if (is_bulk && !received_timer_.is_armed()) received_timer_.arm(now + kAnswerDelay);
  sent_timer_.arm(now + kSentDelay);
}

void NetInterrupts::received(unsigned pair, u64 size) {
  received_ |= u32{1} << pair;
  answered_bytes_ += size;
  if (!is_sending_) has_arrived_ = true;
}

void NetInterrupts::end_receiving() {
  if (has_arrived_) announce_received();
}

void NetInterrupts::announce_received() {
  received_timer_.disarm();
  has_arrived_ = false;
  if (received_ == 0) return;
  // Not at the same rest: the driver is going to look at both queues.
  if (sent_timer_.is_armed()) sent_timer_.arm(sent_timer_.deadline());
  for (u32 pairs = std::exchange(received_, 0); pairs != 0; pairs &= pairs - 1) {
    host_->notify_queue(2 * static_cast<unsigned>(__builtin_ctz(pairs)));
  }
}

void NetInterrupts::announce_sent() {
  sent_timer_.disarm();
  for (u32 pairs = std::exchange(sent_, 0); pairs != 0; pairs &= pairs - 1) {
    host_->notify_queue(2 * static_cast<unsigned>(__builtin_ctz(pairs)) + 1);
  }
}

void NetInterrupts::visit_state(StateVisitor& visitor, unsigned queue_pairs) {
  visitor.begin("interrupts");
  visitor.field("received", received_);
  visitor.field("sent", sent_);
  visit_timer(visitor, "received_timer", received_timer_);
  visit_timer(visitor, "sent_timer", sent_timer_);
  visitor.end();
  const u32 possible = host_ == nullptr ? 0 : (u32{1} << queue_pairs) - 1;
  if (!visitor.is_loading() || ((received_ | sent_) & ~possible) == 0) return;
  received_ &= possible;
  sent_ &= possible;
  visitor.reject("frames of queue pairs that the network card has not");
}

}  // namespace doppel
