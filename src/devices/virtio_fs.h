// VirtioFs: a directory of the host's as a file system of the guest's, served by a vhost-user daemon.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "devices/virtio_registry.h"
#include "memory/guest_memory.h"
#include "virtio/shadow_ring.h"
#include "virtio/vhost_user.h"
#include "virtio/virt_queue.h"
#include "virtio/virtio_device.h"

namespace doppel {

// Virtio 1.2 section 5.11. The queues carry FUSE requests, which virtiofsd or its like answers: chains go
// from the guest's queue through a ShadowRing to the daemon and back. When the daemon is gone, every request
// is answered with EIO. The daemon keeps the open files, so a machine whose state is loaded elsewhere has
// lost them: its requests in flight, too, are answered with EIO. Owned by its transport; called with the
// device lock held.
class VirtioFs final : public VirtioDevice {
 public:
  static constexpr std::size_t kMaxTag = 36;

  // `tag` is the name that the guest mounts by. The daemon must be listening.
  static Result<std::unique_ptr<VirtioFs>> create(const std::string& tag, const std::string& socket_path,
                                                  GuestMemory& memory, EventLoop& loop);
  static Result<std::unique_ptr<VirtioFs>> create(const std::string& tag, VhostUser daemon,
                                                  GuestMemory& memory, EventLoop& loop);
  ~VirtioFs() override;

  std::string_view name() const override { return "virtio_fs"; }
  void reset() override {}
  void visit_state(StateVisitor& visitor) override;
  void resume() override;

  u16 device_id() const override { return 26; }
  u64 device_features() const override { return 0; }
  std::span<const u16> queue_sizes() const override { return kQueueSizes; }
  void read_config(u64 offset, std::span<u8> data) override;
  void write_config(u64, std::span<const u8>) override {}
  void activate(VirtioHost& host, u64 features) override;
  void deactivate() override;
  void queue_notified(unsigned index) override;
  // The daemon leaves the queue's buffers alone; it gets the queue back with its first request.
  void queue_reset(unsigned index) override;

 private:
  static constexpr unsigned kQueues = 2;  // high priority, and one for requests
  static constexpr std::array<u16, kQueues> kQueueSizes = {128, 1024};
  static constexpr u16 kRingSize = 4096;  // descriptors; chains may be long

  // The way of one queue to the daemon and back.
  struct Channel {
    std::unique_ptr<ShadowRing> ring;
    UniqueFd kick;
    UniqueFd call;
    std::unique_ptr<FdWatch> watch;
    bool is_started = false;
  };

  VirtioFs(const std::string& tag, VhostUser daemon, GuestMemory& memory, EventLoop& loop);
  Result<void> make_channels();
  Result<void> start_channel(unsigned index);
  void stop_channel(unsigned index);
  void visit_in_flight(StateVisitor& visitor);
  void load_in_flight(StateVisitor& visitor);
  u64 ring_address(unsigned index) const;
  void daemon_failed(std::string_view why);
  void called(unsigned index);
  void forward(unsigned index);
  void answer(unsigned index, const DescriptorChain& chain, u32 written);
  void answer_with_error(unsigned index, const DescriptorChain& chain);

  std::string tag_;
  VhostUser daemon_;
  GuestMemory& memory_;
  EventLoop& loop_;
  std::array<Channel, kQueues> channels_;
  std::unique_ptr<FdWatch> daemon_watch_;
  bool is_daemon_alive_ = true;
  VirtioHost* host_ = nullptr;                        // null while not active
  std::vector<std::pair<u8, DescriptorChain>> lost_;  // in flight when the state was saved, with their queues
};

// The row for --share.
Result<MadeVirtioDevice> make_virtio_fs(std::string_view value, const VirtioEnvironment& environment);

}  // namespace doppel
