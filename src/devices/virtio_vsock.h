// VirtioVsock: stream sockets between guest and host without a network. virtio 1.2 section 5.10.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "devices/vsock_connection.h"
#include "devices/vsock_listener.h"
#include "virtio/virt_queue.h"
#include "virtio/virtio_device.h"

namespace doppel {

struct VsockConfig {
  std::string path;  // of the listening socket
  u64 guest_cid = 3;
};

// The host's side is Unix sockets: a program connects to `path` and writes "CONNECT port\n", which "OK
// port\n" answers once the guest accepted; the guest's connections to the host's port P lead to the socket
// `path`_P. Owned by the machine, behind a transport; called with the device lock held.
class VirtioVsock final : public VirtioDevice {
 public:
  static constexpr std::size_t kMaxConnections = 256;

  // `loop` outlives it.
  static Result<std::unique_ptr<VirtioVsock>> create(const VsockConfig& config, EventLoop& loop);

  std::string_view name() const override { return "virtio-vsock"; }
  void reset() override {}
  // Connections are not kept: the guest is told that all are lost (5.10.6.7).
  void visit_state(StateVisitor& visitor) override;
  void resume() override;

  u16 device_id() const override { return 19; }
  u64 device_features() const override { return 1; }  // VIRTIO_VSOCK_F_STREAM
  std::span<const u16> queue_sizes() const override { return kQueueSizes; }
  void read_config(u64 offset, std::span<u8> data) override;
  void write_config(u64, std::span<const u8>) override {}
  void activate(VirtioHost& host, u64 features) override;
  void deactivate() override;
  void queue_notified(unsigned index) override;

  std::size_t connections() const { return connections_.size(); }

 private:
  static constexpr std::array<u16, 3> kQueueSizes = {256, 256, 16};
  static constexpr std::size_t kMaxStrayResets = 64;

  struct Ports {
    u32 host;
    u32 guest;
    auto operator<=>(const Ports&) const = default;
  };
  using Connections = std::map<Ports, std::unique_ptr<VsockConnection>>;

  VirtioVsock(const VsockConfig& config, EventLoop& loop);
  void connect_guest(u32 port, UniqueFd socket);
  void take_packets();
  void take_packet(const DescriptorChain& chain);
  void open_from_guest(const Ports& ports);
  void add(VsockConnection::Side opener, const Ports& ports, UniqueFd socket);
  void send_packets();
  bool send_stray_resets();
  bool send_round(unsigned& budget);
  bool send_from(const Ports& ports, VsockConnection& connection, bool& has_buffers);
  void write_packet(const DescriptorChain& chain, const Ports& ports, VsockHeader header,
                    std::span<const u8> payload);
  void send_event();
  void pump();

  VsockConfig config_;
  EventLoop& loop_;
  std::unique_ptr<VsockListener> listener_;
  VirtioHost* host_ = nullptr;  // while active
  Connections connections_;
  Ports next_{};                    // whose turn it is to send
  std::deque<Ports> stray_resets_;  // packets without a connection to answer
  u32 last_port_ = 1u << 30;        // given to a connection from the host
  bool is_reset_event_due_ = false;
  bool is_loaded_ = false;  // not resumed yet
  bool has_sent_ = false;   // packets that the driver has not heard of
  std::vector<u8> scratch_;
};

}  // namespace doppel
