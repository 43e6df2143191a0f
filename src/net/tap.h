// Tap: a network interface of the host as the other end of the cable.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/link_monitor.h"
#include "net/net_backend.h"

namespace doppel {

// The interface is used when it exists and made for as long as we run when it does not; giving it addresses
// and bringing it up is the host's affair. The guest's link is up while the interface is. Owned by the
// machine.
class Tap final : public NetBackend {
 public:
  static constexpr unsigned kMaxQueuePairs = 16;

  // Opens `queue_pairs` queues of the interface.
  static Result<std::unique_ptr<Tap>> create(const std::string& interface, unsigned queue_pairs,
                                             EventLoop& loop);
  ~Tap() override = default;
  Tap(const Tap&) = delete;
  Tap& operator=(const Tap&) = delete;

  const NetLimits& limits() const override { return limits_; }
  bool is_link_up() const override { return is_up_; }
  void set_receiver(NetReceiver* receiver) override;
  void configure(const NetDriverSettings& settings) override;
  void send(unsigned queue, const NetHeader& header, std::span<const iovec> frame) override;
  void receive_ready(unsigned queue) override;
  u64 copied_bytes() const override { return copied_; }

 private:
  struct Queue {
    UniqueFd fd;
    bool is_attached = true;  // with several queues: the kernel uses it
    bool is_waiting = false;  // a frame waits for the guest's buffers
    NetHeader header;         // of the frame in `frame`
    std::vector<u8> frame;
    std::size_t frame_size = 0;
    std::unique_ptr<FdWatch> watch;  // while attached
  };

  Tap(std::string interface, EventLoop& loop);
  Result<void> open(unsigned queue_pairs);
  Result<void> add_queue(unsigned flags);
  Result<void> watch_link();
  void descriptor_ready(unsigned index, short events);
  void read_frames(unsigned index);
  bool read_frame(Queue& queue);
  void attach(Queue& queue, bool is_attached);
  void set_link(bool is_up);
  void lose_interface();
  void write_failed(int error);

  std::string interface_;
  EventLoop& loop_;
  NetLimits limits_;
  std::vector<Queue> queues_;
  std::unique_ptr<LinkMonitor> monitor_;
  std::vector<u8> outgoing_;  // a frame of many pieces in one
  u64 copied_ = 0;            // bytes of such frames
  NetReceiver* receiver_ = nullptr;
  bool is_up_ = false;
  bool is_gone_ = false;
  bool has_logged_write_ = false;  // a failing write was logged since the link was last up
};

}  // namespace doppel
