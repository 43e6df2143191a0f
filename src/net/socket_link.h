// SocketLink: a cable to another machine: a Unix socket with one length-prefixed frame after the other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/inputs.h"
#include "net/net_backend.h"

namespace doppel {

struct SocketLinkConfig {
  std::string path;
  bool is_listening = false;  // else it connects, and tries again every second
  u16 mtu = 0;                // as NetLimits::mtu
};

// Each frame follows its length as 4 bytes, big-endian, which is also what QEMU's `-netdev stream` speaks.
// One peer at a time: others wait until it goes. The link is up while there is a peer. Owned by the machine;
// a poller of its event loop.
class SocketLink final : public NetBackend, private Poller {
 public:
  static Result<std::unique_ptr<SocketLink>> create(const SocketLinkConfig& config, EventLoop& loop,
                                                    Inputs& inputs);
  ~SocketLink() override;
  SocketLink(const SocketLink&) = delete;
  SocketLink& operator=(const SocketLink&) = delete;

  const NetLimits& limits() const override { return limits_; }
  bool is_link_up() const override { return peer_.is_valid(); }
  void set_receiver(NetReceiver* receiver) override;
  void configure(const NetDriverSettings& settings) override;
  void send(unsigned queue, const NetHeader& header, std::span<const iovec> frame) override;
  void receive_ready(unsigned queue) override;
  u64 copied_bytes() const override { return copied_; }

  u64 dropped() const { return dropped_; }

 private:
  static constexpr std::size_t kPrefixSize = 4;
  static constexpr std::size_t kMaxUnsent = 1024 * 1024;

  SocketLink(const SocketLinkConfig& config, EventLoop& loop, Inputs& inputs);
  void try_connect();
  void take_peer(UniqueFd peer);
  void lose_peer(std::string_view why);

  int prepare(std::vector<pollfd>& waits) override;
  void dispatch(std::span<const pollfd> waits) override;
  void read_peer();
  bool deliver_frames();
  void write_unsent();

  SocketLinkConfig config_;
  EventLoop& loop_;
  Inputs& inputs_;
  NetLimits limits_;
  NetReceiver* receiver_ = nullptr;
  UniqueFd listener_;
  UniqueFd peer_;
  Nanoseconds next_try_{0};  // when to connect again

  std::vector<u8> incoming_;  // received bytes: [incoming_start_, incoming_end_) are not yet delivered
  std::size_t incoming_start_ = 0;
  std::size_t incoming_end_ = 0;
  bool is_guest_full_ = false;  // the first frame in incoming_ waits for the guest's buffers
  std::vector<u8> outgoing_;    // the frame being sent, in one piece, behind its length
  std::vector<u8> unsent_;      // bytes that the socket did not take yet
  u64 dropped_ = 0;
  u64 copied_ = 0;
};

}  // namespace doppel
