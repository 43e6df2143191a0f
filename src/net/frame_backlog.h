// FrameBacklog: frames that wait for the guest to make room, up to a limit.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "net/net_backend.h"
#include "state/state_visitor.h"

namespace doppel {

// For back ends that cannot leave frames where they come from. Owned by a back end; called with the device
// lock held.
class FrameBacklog {
 public:
  static constexpr std::size_t kMaxBytes = 1024 * 1024;

  bool is_empty() const { return frames_.empty(); }
  u64 dropped() const { return dropped_; }
  u64 copied_bytes() const { return copied_; }

  // Hands the frame over, or keeps it when others wait already or the receiver has no room; drops it when too
  // much waits.
  void deliver(NetReceiver& receiver, const NetHeader& header, std::span<const u8> frame) {
    if (frames_.empty() && receiver.receive(0, header, frame)) return;
    if (bytes_ + frame.size() > kMaxBytes) {
      ++dropped_;
      return;
    }
    bytes_ += frame.size();
    copied_ += frame.size();
    frames_.push_back({header, {frame.begin(), frame.end()}});
  }

  // Hands over what waits, as far as there is room.
  void retry(NetReceiver& receiver) {
    while (!frames_.empty() && receiver.receive(0, frames_.front().header, frames_.front().data)) {
      bytes_ -= frames_.front().data.size();
      frames_.pop_front();
    }
  }

  void clear() {
    frames_.clear();
    bytes_ = 0;
  }

  // For back ends whose frames are part of the machine's state.
  void visit_state(StateVisitor& visitor) {
    auto count = static_cast<u32>(frames_.size());
    visitor.field("waiting", count);
    if (visitor.is_loading()) {
      if (count > kMaxBytes / kEthernetHeaderSize) return visitor.reject("more frames wait than may");
      clear();
      frames_.resize(count);
    }
    for (Frame& frame : frames_) {
      visitor.bytes("header", {reinterpret_cast<u8*>(&frame.header), sizeof(frame.header)});
      visitor.blob("frame", frame.data, kMaxFrameSize);
      if (visitor.is_loading()) bytes_ += frame.data.size();
      if (bytes_ > kMaxBytes || frame.data.size() < kEthernetHeaderSize) {
        clear();
        return visitor.reject("impossible frame waits");
      }
    }
    visitor.field("dropped", dropped_);
  }

 private:
  struct Frame {
    NetHeader header;
    std::vector<u8> data;
  };

  std::deque<Frame> frames_;
  std::size_t bytes_ = 0;
  u64 dropped_ = 0;
  u64 copied_ = 0;
};

}  // namespace doppel
