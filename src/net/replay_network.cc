// Following a recording, and noticing when the guest does not.
#include "net/replay_network.h"

namespace doppel {

ReplayNetwork::ReplayNetwork(const std::string& name, NetRecording recording, InputPoints& points,
                             Inputs& inputs)
    : name_(name),
      recording_(std::move(recording)),
      points_(points),
      inputs_(inputs),
      link_(recording_.start().is_link_up) {
  points_.add(*this);
}

void ReplayNetwork::diverged(std::string_view what) {
  if (std::exchange(has_diverged_, true)) return;
  points_.diverged(fmt::format("replay '{}': {}", name_, what));
}

void ReplayNetwork::send(unsigned, const NetHeader& header, std::span<const iovec> frame) {
  const std::size_t index = link_.sent();
  const u64 chain = link_.note_sent(header, frame);
  const i64 now = inputs_.now().count();
  if (index >= recording_.sent().size()) {
    return diverged(fmt::format("the guest sends frame {} at {} ns; the recording has {}", index, now,
                                recording_.sent().size()));
  }
  const NetSent& recorded = recording_.sent()[index];
  if (recorded.time.count() == now && recorded.chain == chain) return;
  diverged(fmt::format("the guest's frame {} at {} ns is not the recorded one, which was sent at {} ns{}",
                       index, now, recorded.time.count(),
                       recorded.chain == chain ? "" : " and had other content"));
}

Nanoseconds ReplayNetwork::next_input() const {
  const auto& inputs = recording_.inputs();
  return link_.inputs() < inputs.size() ? inputs[link_.inputs()].time : Timer::kNever;
}

void ReplayNetwork::let_in(Nanoseconds now) {
  const auto& sent = recording_.sent();
  if (link_.sent() < sent.size() && sent[link_.sent()].time < now) {
    diverged(fmt::format("the guest did not send frame {}, recorded at {} ns", link_.sent(),
                         sent[link_.sent()].time.count()));
  }
  bool has_delivered = false;
  while (next_input() <= now) {
    const NetInput& input = recording_.inputs()[link_.inputs()];
    if (input.is_frame) {
      link_.deliver(input.header, recording_.frame(input));
    } else {
      link_.change_link(input.is_link_up);
    }
    has_delivered = true;
  }
  if (has_delivered) link_.deliver_done();
}

void ReplayNetwork::visit_state(StateVisitor& visitor) {
  link_.visit_state(visitor);
  if (!visitor.is_loading()) return;
  if (link_.inputs() > recording_.inputs().size() || link_.sent() > recording_.sent().size()) {
    visitor.reject("the state is of a run with another recording");
  }
}

}  // namespace doppel
