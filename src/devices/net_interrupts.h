// NetInterrupts: when a network card tells its driver of the frames it has sent and received.
#pragma once

#include "base/timer_queue.h"
#include "state/state_visitor.h"
#include "virtio/virtio_device.h"

namespace doppel {

// One interrupt for each run of frames, at its end. A back end in this process may answer a run from the
// driver before that ends; then less than that:
// - The answers' interrupt comes first. One for the sent frames follows only if the driver, by its event
// index,
//   still wants it when it sends again, when a vCPU rests or kSentDelay later: drivers look at both queues of
//   a pair when one interrupts.
// - Answers to bulk are acknowledgements. They wait, until something else arrives, a vCPU rests or
// kAnswerDelay
//   is over: the sender goes on as far as its window allows, in fewer frames.
// Frames that arrive from outside are told at once, and all that waited with them. A part of VirtioNet;
// called with the device lock held.
class NetInterrupts {
 public:
  static constexpr Nanoseconds kAnswerDelay = std::chrono::microseconds(100);
  static constexpr Nanoseconds kSentDelay = std::chrono::microseconds(500);
  // Bulk has this many times the bytes of its answers.
  static constexpr u64 kBulkRatio = 64;

  explicit NetInterrupts(TimerQueue& timers);

  void start(VirtioHost& host) { host_ = &host; }
  void stop();
  // A queue was reset: nothing of it is to be told any more.
  void forget(unsigned queue);

  // A run of frames from the driver, on one queue pair.
  void begin_sending();
  void sent(u64 size);
  void end_sending(unsigned pair);

  // A run of frames to the driver; while a run from it is being sent, they are answers to that.
  void received(unsigned pair, u64 size);
  void end_receiving();
  // Tells the driver of all received frames now.
  void announce_received();

  // Of a card with so many pairs.
  void visit_state(StateVisitor& visitor, unsigned queue_pairs);

 private:
  void announce_sent();

  TimerQueue& timers_;
  VirtioHost* host_ = nullptr;  // while active
  // A bit for each queue pair with frames that the driver has not heard of.
  u32 received_ = 0;
  u32 sent_ = 0;
  bool has_arrived_ = false;  // some of received_ are no answers
  Timer received_timer_;      // armed while answers wait
  Timer sent_timer_;          // armed while sent_ is not 0
  // Of the run that is being sent.
  bool is_sending_ = false;
  unsigned sent_frames_ = 0;
  u64 sent_bytes_ = 0;
  u64 answered_bytes_ = 0;
};

}  // namespace doppel
