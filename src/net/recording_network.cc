// Between the host's time and the machine's.
#include "net/recording_network.h"

namespace doppel {

Result<std::unique_ptr<RecordingNetwork>> RecordingNetwork::create(const std::string& path,
                                                                   std::unique_ptr<NetBackend> outside,
                                                                   InputPoints& points, Inputs& inputs) {
  NetRecordingWriter writer = TRY(
      NetRecordingWriter::create(path, {.limits = outside->limits(), .is_link_up = outside->is_link_up()}));
  return std::unique_ptr<RecordingNetwork>(
      new RecordingNetwork(std::move(writer), std::move(outside), points, inputs));
}

RecordingNetwork::RecordingNetwork(NetRecordingWriter writer, std::unique_ptr<NetBackend> outside,
                                   InputPoints& points, Inputs& inputs)
    : writer_(std::move(writer)),
      outside_(std::move(outside)),
      points_(points),
      inputs_(inputs),
      limits_(outside_->limits()),
      link_(outside_->is_link_up()) {
  // The card spreads frames over its queues by itself: which queue the host chose would be one more input.
  limits_.queue_pairs = 1;
  points_.add(*this);
}

RecordingNetwork::~RecordingNetwork() {
  points_.remove(*this);
  outside_->set_receiver(nullptr);
  writer_.add_end(inputs_.now());
}

void RecordingNetwork::set_receiver(NetReceiver* receiver) {
  link_.set_receiver(receiver);
  outside_->set_receiver(receiver == nullptr ? nullptr : static_cast<NetReceiver*>(this));
}

void RecordingNetwork::configure(const NetDriverSettings& settings) {
  outside_->configure({.offloads = settings.offloads, .queue_pairs = 1});
}

void RecordingNetwork::send(unsigned, const NetHeader& header, std::span<const iovec> frame) {
  writer_.add_sent({inputs_.now(), link_.note_sent(header, frame)});
  outside_->send(0, header, frame);
}

bool RecordingNetwork::receive(unsigned, const NetHeader& header, std::span<const u8> frame) {
  if (arrived_bytes_ + frame.size() > kMaxArrivedBytes) return false;
  if (frame.size() < kEthernetHeaderSize) return true;
  arrived_bytes_ += frame.size();
  arrived_.push_back({true, false, header, {frame.begin(), frame.end()}});
  points_.arrived();
  return true;
}

void RecordingNetwork::link_changed(bool is_up) {
  arrived_.push_back({false, is_up, {}, {}});
  points_.arrived();
}

void RecordingNetwork::let_in(Nanoseconds now) {
  if (arrived_.empty()) return;
  for (const Arrival& arrival : arrived_) {
    if (arrival.is_frame) {
      writer_.add_frame(now, arrival.header, arrival.frame);
      link_.deliver(arrival.header, arrival.frame);
    } else {
      writer_.add_link(now, arrival.is_link_up);
      link_.change_link(arrival.is_link_up);
    }
  }
  link_.deliver_done();
  arrived_.clear();
  arrived_bytes_ = 0;
  // There is room again.
  outside_->receive_ready(0);
}

void RecordingNetwork::visit_state(StateVisitor& visitor) {
  link_.visit_state(visitor);
  if (visitor.is_loading() && (link_.inputs() != 0 || link_.sent() != 0)) {
    visitor.reject("a network is recorded from its machine's beginning on");
  }
}

}  // namespace doppel
