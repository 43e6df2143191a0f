// VirtioNet: a network card. virtio 1.2 section 5.1.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/timer_queue.h"
#include "base/token_bucket.h"
#include "devices/flow_steering.h"
#include "devices/net_interrupts.h"
#include "devices/receive_filter.h"
#include "devices/virtio_net_layout.h"
#include "net/net_backend.h"
#include "virtio/virt_queue.h"
#include "virtio/virtio_device.h"

namespace doppel {

struct VirtioNetSettings {
  MacAddress mac{};
  unsigned queue_pairs = 1;      // offered to the driver
  RateLimit send_limit = {};     // bytes a second from the guest
  RateLimit receive_limit = {};  // and to it
};

// What passed in one direction.
struct NetCounters {
  u64 frames = 0;
  u64 bytes = 0;
  u64 drops = 0;
};

// Moves frames between queues and a back end. Frames from the guest are sent at once, a whole run of them for
// one notification; frames to it are taken from the back end only when buffers are there, so none are kept
// here. Owned by the machine, behind a transport; called with the device lock held.
class VirtioNet final : public VirtioDevice, private NetReceiver {
 public:
  static constexpr unsigned kMaxQueuePairs = 16;

  // `timers` outlive it.
  VirtioNet(const VirtioNetSettings& settings, std::unique_ptr<NetBackend> backend, TimerQueue& timers);
  ~VirtioNet() override;
  VirtioNet(const VirtioNet&) = delete;
  VirtioNet& operator=(const VirtioNet&) = delete;

  std::string_view name() const override { return "virtio-net"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;
  // While paused, frames for the guest wait outside: its memory does not change.
  void pause() override { is_paused_ = true; }
  void resume() override;

  u16 device_id() const override { return 1; }
  u64 device_features() const override;
  std::span<const u16> queue_sizes() const override { return queue_sizes_; }
  void read_config(u64 offset, std::span<u8> data) override;
  void write_config(u64, std::span<const u8>) override {}
  void activate(VirtioHost& host, u64 features) override;
  void deactivate() override;
  void queue_notified(unsigned index) override;
  bool can_reset_queue() const override { return true; }
  void queue_reset(unsigned index) override { interrupts_.forget(index); }

  // Asks the driver to tell the network where it now is (5.1.6.5.4): after a restore or a migration. True
  // when the driver knows how to.
  bool announce();

  const NetCounters& sent() const { return sent_; }
  const NetCounters& received() const { return received_; }
  std::vector<std::pair<std::string_view, u64>> counter_values() const override;

 private:
  bool has(u64 feature) const { return (features_ & feature) != 0; }
  u16 status() const;
  unsigned control_index() const;
  void update_backend();
  void link_changed(bool is_up) override;

  // virtio_net_transfer.cc
  void send_frames(unsigned pair);
  void send_frame(unsigned pair, const DescriptorChain& chain);
  NetHeader checked_header(const NetHeader& header) const;
  bool receive(unsigned queue, const NetHeader& header, std::span<const u8> frame) override;
  bool collect_buffers(VirtQueue& queue, std::size_t size, bool& is_dropped);
  void fill_buffers(VirtQueue& queue, NetHeader header, std::span<const u8> frame);
  void receive_done() override;
  void limits_passed();
  bool wait_for(TokenBucket& bucket, u64 bytes);

  // virtio_net_control.cc
  void run_control_commands();
  bool run_command(const DescriptorChain& chain);
  bool set_mode(u8 command, std::span<const u8> data);
  bool set_mac_table(const DescriptorChain& chain);
  bool set_mac(u8 command, const DescriptorChain& chain, std::span<const u8> data);
  bool set_vlan(u8 command, std::span<const u8> data);
  bool set_queue_pairs(u8 command, std::span<const u8> data);
  bool set_guest_offloads(u8 command, std::span<const u8> data);

  VirtioNetSettings settings_;  // a loaded state brings its own address
  std::unique_ptr<NetBackend> backend_;
  TimerQueue& timers_;
  std::vector<u16> queue_sizes_;

  VirtioHost* host_ = nullptr;  // while active
  u64 features_ = 0;            // accepted, while active
  MacAddress mac_{};            // the driver may change it
  u16 queue_pairs_ = 1;         // in use
  u64 guest_offloads_ = 0;      // of the accepted ones, those the driver wants now
  bool is_announcing_ = false;
  bool is_paused_ = false;
  bool is_announce_due_ = false;  // loaded, not resumed yet
  ReceiveFilter filter_;
  FlowSteering steering_;
  TokenBucket send_bucket_;
  TokenBucket receive_bucket_;
  NetInterrupts interrupts_;
  Timer limit_timer_;                    // fires when a bucket has filled enough
  std::vector<DescriptorChain> chains_;  // buffers of the frame being received
  std::vector<UsedBuffer> used_;         // the same, filled
  NetCounters sent_;
  NetCounters received_;
  u64 copied_ = 0;  // bytes of frames, into the guest's buffers
};

}  // namespace doppel
