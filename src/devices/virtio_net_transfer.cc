// Frames between the network card's queues and its back end.
#include <algorithm>

#include "base/log.h"
#include "devices/virtio_net.h"

namespace doppel {

using namespace virtio_net;

void VirtioNet::send_frames(unsigned pair) {
  VirtQueue& queue = host_->queue(2 * pair + 1);
  interrupts_.begin_sending();
  // The driver may add as fast as frames are sent: others must get their turn.
  for (unsigned budget = 2 * queue.size(); budget > 0; --budget) {
    const std::optional<DescriptorChain> chain = queue.pop();
    if (!chain) break;
    if (!wait_for(send_bucket_, chain->readable_size())) {
      queue.undo_pop(*chain);
      break;
    }
    send_frame(pair, *chain);
    queue.push(*chain, 0);
    interrupts_.sent(chain->readable_size());
    if (budget == 1) limit_timer_.arm(timers_.now());
  }
  interrupts_.end_sending(pair);
}

// Takes from a bucket, or has the timer come back when that will work.
bool VirtioNet::wait_for(TokenBucket& bucket, u64 bytes) {
  if (!bucket.is_limited()) return true;
  const Nanoseconds now = timers_.now();
  if (bucket.consume(bytes, now)) return true;
  limit_timer_.arm(std::min(limit_timer_.deadline(), bucket.ready_time(bytes, now)));
  return false;
}

void VirtioNet::limits_passed() {
  if (host_ == nullptr || is_paused_) return;
  for (unsigned pair = 0; pair < queue_pairs_; ++pair) {
    if (host_->queue(2 * pair + 1).is_enabled()) send_frames(pair);
    backend_->receive_ready(pair);
  }
}

void VirtioNet::send_frame(unsigned pair, const DescriptorChain& chain) {
  const std::optional<NetHeader> header = chain.read_value<NetHeader>(0);
  const u64 size = chain.readable_size() - std::min<u64>(chain.readable_size(), sizeof(NetHeader));
  if (!header || size < kEthernetHeaderSize || size > kMaxFrameSize) {
    LOG_GUEST("virtio-net: frame of {} bytes cannot be sent", size);
    ++sent_.drops;
    return;
  }
  if (!backend_->is_link_up()) {
    ++sent_.drops;
    return;
  }
  ++sent_.frames;
  sent_.bytes += size;
  if (queue_pairs_ > 1) {
    std::array<u8, 64> start;
    steering_.sent(pair, std::span(start).first(chain.read(sizeof(NetHeader), start)));
  }
  const IovecList frame = chain.readable_slice(sizeof(NetHeader), size);
  backend_->send(pair, checked_header(*header), frame.span());
}

// What the driver may ask for is what it negotiated (5.1.6.2.1); the rest is not done.
NetHeader VirtioNet::checked_header(const NetHeader& header) const {
  if (!has(kChecksum) || (header.flags & NetHeader::kNeedsChecksum) == 0) return {};
  NetHeader checked = header;
  checked.flags = NetHeader::kNeedsChecksum;
  checked.buffer_count = 0;
  const bool is_allowed = (header.gso_type == NetHeader::kGsoTcp4 && has(kHostTso4)) ||
                          (header.gso_type == NetHeader::kGsoTcp6 && has(kHostTso6)) ||
                          (header.gso_type == NetHeader::kGsoUdp && has(kHostUfo)) ||
                          (header.gso_type == NetHeader::kGsoUdpSegments && has(kHostUso));
  if (!is_allowed) {
    checked.gso_type = NetHeader::kGsoNone;
    checked.gso_size = 0;
  }
  return checked;
}

bool VirtioNet::receive(unsigned queue_pair, const NetHeader& header, std::span<const u8> frame) {
  if (is_paused_) return false;
  if (host_ == nullptr || !filter_.passes(mac_, frame)) {
    ++received_.drops;
    return true;
  }
  const bool steers = queue_pairs_ > 1 && backend_->limits().queue_pairs == 1;
  const unsigned pair = steers ? steering_.queue_for(frame) : queue_pair;
  VirtQueue& queue = host_->queue(2 * (pair < queue_pairs_ ? pair : 0));
  if (!queue.is_enabled() || queue.is_broken()) {
    ++received_.drops;
    return true;
  }
  bool is_dropped = false;
  if (!collect_buffers(queue, sizeof(NetHeader) + frame.size(), is_dropped)) {
    received_.drops += is_dropped ? 1 : 0;
    // The driver may have to take what is there to have room again.
    interrupts_.announce_received();
    return is_dropped;
  }
  if (!wait_for(receive_bucket_, frame.size())) {
    for (; !chains_.empty(); chains_.pop_back()) queue.undo_pop(chains_.back());
    return false;
  }
  fill_buffers(queue, header, frame);
  interrupts_.received(pair < queue_pairs_ ? pair : 0, frame.size());
  ++received_.frames;
  received_.bytes += frame.size();
  return true;
}

// Takes buffers for `size` bytes into chains_. False when there are not enough: none is taken then, and the
// frame must wait, or be dropped when waiting cannot help.
bool VirtioNet::collect_buffers(VirtQueue& queue, std::size_t size, bool& is_dropped) {
  chains_.clear();
  u64 room = 0;
  while (room < size) {
    std::optional<DescriptorChain> chain = queue.pop();
    const bool is_alone = !has(kMergeableBuffers);
    if (chain && is_alone && chain->writable_size() < size) {
      queue.undo_pop(*chain);
      is_dropped = true;
      return false;
    }
    if (!chain) {
      // All that the ring can hold is not enough.
      is_dropped = queue.is_broken() || chains_.size() >= queue.size();
      for (; !chains_.empty(); chains_.pop_back()) queue.undo_pop(chains_.back());
      return false;
    }
    room += chain->writable_size();
    chains_.push_back(std::move(*chain));
  }
  return true;
}

void VirtioNet::fill_buffers(VirtQueue& queue, NetHeader header, std::span<const u8> frame) {
  // 5.1.6.4.1: how many buffers the frame takes; 1 without mergeable buffers.
  header.buffer_count = static_cast<u16>(chains_.size());
  const std::span<const u8> head(reinterpret_cast<const u8*>(&header), sizeof(header));
  std::size_t head_done = 0;
  std::size_t done = 0;
  used_.clear();
  for (const DescriptorChain& chain : chains_) {
    const std::size_t head_part = chain.write(0, head.subspan(head_done));
    const std::size_t part = chain.write(head_part, frame.subspan(done));
    head_done += head_part;
    done += part;
    used_.push_back({&chain, static_cast<u32>(head_part + part)});
  }
  copied_ += done;
  queue.push_together(used_);
}

void VirtioNet::receive_done() { interrupts_.end_receiving(); }

}  // namespace doppel
