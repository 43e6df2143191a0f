// VsockConnection: one stream between a port of the guest and a Unix socket of the host.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "devices/vsock_packet.h"
#include "virtio/descriptor_chain.h"

namespace doppel {

// Keeps at most kBufferSize bytes that the socket did not take yet: that is all the credit the guest gets
// (virtio 1.2 5.10.6.3). Bytes for the guest stay in the socket until the guest has credit and buffers.
// Owned by VirtioVsock, which moves its packets; called with the device lock held.
class VsockConnection {
 public:
  static constexpr u32 kBufferSize = 256 * 1024;

  enum class Side : u8 { kHost, kGuest };

  // `opener` asked for the connection. `on_ready` is called on the event loop when there may be something to
  // send to the guest.
  VsockConnection(Side opener, u32 host_port, UniqueFd socket, EventLoop& loop,
                  std::function<void()> on_ready);

  // A packet of the guest for this connection. What breaks the rules resets the connection.
  void receive(const VsockHeader& header, const DescriptorChain& chain);

  // False when next() has nothing for sure.
  bool wants_to_send() const;
  // The next packet's operation, flags and payload, which is written to `room`.
  struct Packet {
    VsockOperation operation;
    u32 flags = 0;
    std::size_t size = 0;
  };
  std::optional<Packet> next(std::span<u8> room);
  // What every packet says of our buffer.
  void stamp(VsockHeader& header);
  // Nothing more comes from here until the event loop has looked at the socket again.
  void yield();

  // The guest knows that it is over: to be removed.
  bool is_finished() const { return is_finished_; }

 private:
  enum class State : u8 { kOpening, kOpen };

  void reset() { is_reset_due_ = true; }
  void receive_response();
  void receive_data(u32 length, const DescriptorChain& chain);
  void receive_shutdown(u32 flags);
  void socket_ready(short events);
  void write_buffer();
  void finish_writing();
  std::size_t write_socket(std::span<const u8> data);
  std::size_t read_socket(std::span<u8> room);
  u32 credit() const { return guest_buffer_size_ - (sent_ - guest_forwarded_); }
  bool is_credit_update_due() const {
    return forwarded_ - told_forwarded_ >= kBufferSize / 2 || owes_credit_;
  }
  void update_watch();

  Side opener_;
  u32 host_port_;
  UniqueFd socket_;
  EventLoop& loop_;
  std::function<void()> on_ready_;
  State state_ = State::kOpening;

  // Towards the guest.
  bool is_opening_due_ = true;  // the request or the response
  bool is_reset_due_ = false;
  bool is_finished_ = false;
  bool is_readable_ = false;   // the socket may have bytes
  bool has_read_end_ = false;  // the socket has no more
  u32 shutdown_due_ = 0;       // flags of a kShutdown to send
  bool owes_credit_ = false;   // the guest asked
  bool has_asked_credit_ = false;
  u32 sent_ = 0;  // bytes, modulo 2^32 as all counters here
  u32 guest_buffer_size_ = 0;
  u32 guest_forwarded_ = 0;

  // From the guest.
  std::vector<u8> buffer_;  // what the socket did not take
  u32 received_ = 0;
  u32 forwarded_ = 0;
  u32 told_forwarded_ = 0;  // what the guest knows of it
  u32 guest_shutdown_ = 0;  // flags of its kShutdown so far

  std::unique_ptr<FdWatch> watch_;  // while there is something to wait for
};

}  // namespace doppel
