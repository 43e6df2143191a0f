// ReplayNetwork: a network that does what a recording says, at the machine times it says.
#pragma once

#include <memory>
#include <string>

#include "base/input_points.h"
#include "net/net_recording.h"
#include "net/timed_link.h"

namespace doppel {

// Frames reach the card at the input points at which they did when they were recorded. What the card sends is
// compared with the recording and goes nowhere; the first difference is reported and stops the machine. Owned
// by the card.
class ReplayNetwork final : public NetBackend, private InputSource {
 public:
  // `points` and `inputs`, the machine's, outlive it. `name` stands for the recording in messages.
  ReplayNetwork(const std::string& name, NetRecording recording, InputPoints& points, Inputs& inputs);
  ~ReplayNetwork() override { points_.remove(*this); }
  ReplayNetwork(const ReplayNetwork&) = delete;
  ReplayNetwork& operator=(const ReplayNetwork&) = delete;

  const NetLimits& limits() const override { return recording_.start().limits; }
  bool is_link_up() const override { return link_.is_up(); }
  void set_receiver(NetReceiver* receiver) override { link_.set_receiver(receiver); }
  void configure(const NetDriverSettings&) override {}
  void send(unsigned queue, const NetHeader& header, std::span<const iovec> frame) override;
  void receive_ready(unsigned) override { link_.receive_ready(); }
  void visit_state(StateVisitor& visitor) override;

 private:
  bool is_live() const override { return false; }
  bool has_arrived() const override { return false; }
  Nanoseconds next_input() const override;
  void let_in(Nanoseconds now) override;
  void diverged(std::string_view what);

  std::string name_;
  NetRecording recording_;
  InputPoints& points_;
  Inputs& inputs_;
  TimedLink link_;
  bool has_diverged_ = false;
};

}  // namespace doppel
