// RecordingNetwork: another back end, made fit for a machine on the instruction clock and written down.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/input_points.h"
#include "net/net_recording.h"
#include "net/timed_link.h"

namespace doppel {

// Stands between the card and a back end that runs on the host's clock. What comes from that waits for the
// machine's next input point, is written down with its machine time and goes to the card; what the card
// sends goes out at once, and its hash is written down. Owned by the card.
class RecordingNetwork final : public NetBackend, private NetReceiver, private InputSource {
 public:
  // `points` and `inputs`, the machine's, outlive it.
  static Result<std::unique_ptr<RecordingNetwork>> create(const std::string& path,
                                                          std::unique_ptr<NetBackend> outside,
                                                          InputPoints& points, Inputs& inputs);
  ~RecordingNetwork() override;

  const NetLimits& limits() const override { return limits_; }
  bool is_link_up() const override { return link_.is_up(); }
  void set_receiver(NetReceiver* receiver) override;
  void configure(const NetDriverSettings& settings) override;
  void send(unsigned queue, const NetHeader& header, std::span<const iovec> frame) override;
  void receive_ready(unsigned) override { link_.receive_ready(); }
  void visit_state(StateVisitor& visitor) override;

 private:
  static constexpr std::size_t kMaxArrivedBytes = 1024 * 1024;

  struct Arrival {
    bool is_frame;
    bool is_link_up;
    NetHeader header;
    std::vector<u8> frame;
  };

  RecordingNetwork(NetRecordingWriter writer, std::unique_ptr<NetBackend> outside, InputPoints& points,
                   Inputs& inputs);

  // From outside.
  bool receive(unsigned queue, const NetHeader& header, std::span<const u8> frame) override;
  void receive_done() override {}
  void link_changed(bool is_up) override;

  bool is_live() const override { return true; }
  bool has_arrived() const override { return !arrived_.empty(); }
  Nanoseconds next_input() const override { return Timer::kNever; }
  void let_in(Nanoseconds now) override;

  NetRecordingWriter writer_;
  std::unique_ptr<NetBackend> outside_;
  InputPoints& points_;
  Inputs& inputs_;
  NetLimits limits_;
  TimedLink link_;
  std::deque<Arrival> arrived_;
  std::size_t arrived_bytes_ = 0;
};

}  // namespace doppel
