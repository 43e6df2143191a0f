// UserNetwork: a private network behind NAT that needs no privilege: libslirp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/inputs.h"
#include "net/frame_backlog.h"

struct Slirp;

namespace doppel {

// A port of the host that leads into the guest. Addresses in host byte order.
struct HostForward {
  bool is_udp = false;
  u32 host_address = 0;  // 0: all of the host's
  u16 host_port = 0;
  u32 guest_address = 0;  // 0: the address that DHCP gives
  u16 guest_port = 0;
};

// Addresses in host byte order.
struct UserNetworkConfig {
  static constexpr u16 kMaxMtu = 65520;
  // Large packets make bulk transfer cheap for a guest, whose cost is for each packet. But libslirp knows no
  // window scaling: with segments of half a window, sender and receiver may each wait for the other to act
  // (RFC 9293 3.8.6.2, both ends avoid silly windows), until a timer of 5 seconds. Four fit into 65535.
  static constexpr u16 kDefaultMtu = 16384;

  u32 network = 0x0a000200;  // 10.0.2.0/24
  u32 netmask = 0xffffff00;
  u32 host = 0;                // the gateway, which is also the host's loopback; 0: network + 2
  u32 dhcp_start = 0;          // 0: network + 15
  u32 dns = 0;                 // 0: network + 3
  bool is_restricted = false;  // the guest reaches nothing but forwarded ports
  u16 mtu = kDefaultMtu;
  std::vector<HostForward> forwards = {};
};

// Owned by the machine. A poller of its event loop: sockets of the host are served there; frames from the
// guest are taken on whichever thread brings them.
class UserNetwork final : public NetBackend, private Poller {
 public:
  static Result<std::unique_ptr<UserNetwork>> create(const UserNetworkConfig& config, EventLoop& loop,
                                                     Inputs& inputs);
  ~UserNetwork() override;
  UserNetwork(const UserNetwork&) = delete;
  UserNetwork& operator=(const UserNetwork&) = delete;

  const NetLimits& limits() const override { return limits_; }
  bool is_link_up() const override { return true; }
  void set_receiver(NetReceiver* receiver) override;
  void configure(const NetDriverSettings& settings) override;
  void send(unsigned queue, const NetHeader& header, std::span<const iovec> frame) override;
  void receive_ready(unsigned queue) override;
  // What libslirp copies is not included.
  u64 copied_bytes() const override { return gathered_ + backlog_.copied_bytes(); }

 private:
  struct Callbacks;  // what libslirp calls
  struct Timer {
    void (*callback)(void*);
    void* opaque;
    i64 due_ms = -1;  // -1: not armed
  };

  UserNetwork(const UserNetworkConfig& config, EventLoop& loop, Inputs& inputs);
  Result<void> open(const UserNetworkConfig& config);
  Result<void> add_forward(const HostForward& forward);

  int prepare(std::vector<pollfd>& waits) override;
  void dispatch(std::span<const pollfd> waits) override;
  i64 now_ms();
  void run_timers();
  void deliver(std::span<const u8> frame);
  void serve_sockets();
  void wake();

  EventLoop& loop_;
  Inputs& inputs_;
  NetLimits limits_;
  Slirp* slirp_ = nullptr;
  NetReceiver* receiver_ = nullptr;
  bool guest_trusts_checksums_ = false;  // received frames may be marked as valid
  bool is_wake_pending_ = false;         // the loop was woken and has not prepared since
  bool are_waits_current_ = false;       // of the loop's turn: libslirp has not been asked again since
  u64 delivered_ = 0;                    // bytes of frames to the guest, while one from it is sent
  std::vector<pollfd> ready_;            // of serve_sockets()
  FrameBacklog backlog_;
  std::vector<u8> outgoing_;  // the frame being sent, in one piece
  u64 gathered_ = 0;          // bytes that were copied into it
  std::vector<std::unique_ptr<Timer>> timers_;
  std::vector<pollfd>* waits_ = nullptr;  // while preparing
  std::size_t first_wait_ = 0;
  std::span<const pollfd> results_;  // while dispatching
};

}  // namespace doppel
