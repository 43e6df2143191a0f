// TimedLink: the part of a network that is the same when it is recorded and when it is replayed.
#pragma once

#include "net/frame.h"
#include "net/frame_backlog.h"
#include "net/net_recording.h"
#include "state/state_visitor.h"

namespace doppel {

// Everything here is determined by what came in when, and by the guest; so it is part of the machine's state.
// A member of the back end; called with the device lock held.
class TimedLink {
 public:
  explicit TimedLink(bool is_up) : is_up_(is_up) {}

  bool is_up() const { return is_up_; }
  u64 inputs() const { return inputs_; }  // that came in
  u64 sent() const { return sent_; }      // frames
  std::span<u8> last_frame() { return frame_; }

  void set_receiver(NetReceiver* receiver) {
    receiver_ = receiver;
    backlog_.clear();
  }
  void deliver(const NetHeader& header, std::span<const u8> frame) {
    ++inputs_;
    if (receiver_ != nullptr) backlog_.deliver(*receiver_, header, frame);
  }
  void change_link(bool is_up) {
    ++inputs_;
    is_up_ = is_up;
    if (receiver_ != nullptr) receiver_->link_changed(is_up);
  }
  void deliver_done() {
    if (receiver_ != nullptr) receiver_->receive_done();
  }
  void receive_ready() {
    if (receiver_ == nullptr || backlog_.is_empty()) return;
    backlog_.retry(*receiver_);
    receiver_->receive_done();
  }
  // The hash of all frames so far, this one included; last_frame() is it.
  u64 note_sent(const NetHeader& header, std::span<const iovec> pieces) {
    ++sent_;
    gather_frame(pieces, frame_);
    return chain_ = chain_frame(chain_, header, frame_);
  }

  void visit_state(StateVisitor& visitor) {
    visitor.begin("link");
    visitor.field("is_up", is_up_);
    visitor.field("inputs", inputs_);
    visitor.field("sent", sent_);
    visitor.field("chain", chain_);
    backlog_.visit_state(visitor);
    visitor.end();
  }

 private:
  NetReceiver* receiver_ = nullptr;
  bool is_up_;
  u64 inputs_ = 0;
  u64 sent_ = 0;
  u64 chain_ = 0;
  FrameBacklog backlog_;
  std::vector<u8> frame_;
};

}  // namespace doppel
