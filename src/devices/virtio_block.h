// VirtioBlock: the virtio disk. virtio 1.2 section 5.2.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/timer_queue.h"
#include "base/token_bucket.h"
#include "block/block_backend.h"
#include "devices/virtio_block_request.h"
#include "virtio/virt_queue.h"
#include "virtio/virtio_device.h"

namespace doppel {

struct VirtioBlockConfig {
  std::string serial;  // the first kIdSize characters are what the driver reads
  u16 queues = 1;
  u64 bandwidth = 0;   // bytes a second read and written; 0: no limit
  u64 operations = 0;  // requests a second; 0: no limit
};

// What happened since the machine was made. Not part of its state.
struct VirtioBlockCounters {
  struct Operation {
    u64 requests = 0;
    u64 bytes = 0;
    u64 errors = 0;
  };
  std::array<Operation, 5> operations;  // by BlockOperation
  u64 refused = 0;                      // requests that were against the rules
  u64 notifications = 0;                // from the driver
  u64 batches = 0;                      // of used buffers, each worth at most one interrupt

  const Operation& of(BlockOperation operation) const {
    return operations[static_cast<std::size_t>(operation)];
  }
};

// A disk with one or more request queues over one back end. Data moves directly between guest RAM and back
// end. Requests over the rate limit stay in their queue until a timer takes them. Owned by its transport;
// called with the device lock held.
//
// Requests in flight are part of the state: their chains are saved, and resume() after loading parses and
// issues them again. A reset makes the back end forget them, which waits while a host kernel still fills
// guest memory: when deactivate() returns, nothing will touch it any more.
class VirtioBlock final : public VirtioDevice, private BlockClient {
 public:
  static constexpr u16 kQueueSize = 512;

  // `backend` has no client yet.
  VirtioBlock(std::unique_ptr<BlockBackend> backend, const VirtioBlockConfig& config, TimerQueue& timers);
  ~VirtioBlock() override;
  VirtioBlock(const VirtioBlock&) = delete;
  VirtioBlock& operator=(const VirtioBlock&) = delete;

  const VirtioBlockCounters& counters() const { return counters_; }

  std::string_view name() const override { return "virtio_block"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;
  void resume() override;

  u16 device_id() const override { return 2; }
  u64 device_features() const override;
  std::span<const u16> queue_sizes() const override { return queue_sizes_; }
  void read_config(u64 offset, std::span<u8> data) override;
  void write_config(u64 offset, std::span<const u8> data) override;
  void activate(VirtioHost& host, u64 features) override;
  void deactivate() override;
  void queue_notified(unsigned index) override;
  std::vector<std::pair<std::string_view, u64>> counter_values() const override;

 private:
  void request_completed(BlockRequest& request, BlockStatus status) override;
  void batch_completed() override { notify_queues(); }

  virtio_block::Config config() const;
  bool is_write_through() const;

  void process_all();
  void process_queue(unsigned index);
  bool is_within_limits(const VirtioBlockRequest& request);
  void start(VirtioBlockRequest& request, VirtioBlockAction action);
  void submit(VirtioBlockRequest& request);
  void answer_id(VirtioBlockRequest& request);
  void finish(VirtioBlockRequest& request, u8 status, u32 written);
  void notify_queues();

  VirtioBlockRequest* take_request();
  std::vector<VirtioBlockRequest*> in_flight();
  void forget_requests();

  std::unique_ptr<BlockBackend> backend_;
  VirtioBlockRules rules_;
  std::array<u8, virtio_block::kIdSize> id_ = {};
  std::vector<u16> queue_sizes_;
  TimerQueue& timers_;
  TokenBucket bandwidth_;
  TokenBucket operations_;
  Timer limit_timer_;  // armed while requests wait for the rate limit

  VirtioHost* host_ = nullptr;  // null: not active
  u64 features_ = 0;
  bool is_writeback_ = true;  // what the driver wrote to the configuration

  std::vector<std::unique_ptr<VirtioBlockRequest>> requests_;  // all there are
  std::vector<VirtioBlockRequest*> free_;
  std::vector<VirtioBlockRequest*> loaded_;  // in flight when they were saved; for resume()
  u64 next_order_ = 0;
  u64 used_queues_ = 0;       // a bit for each queue with used buffers that the driver was not told of
  unsigned first_queue_ = 0;  // where process_all() begins, so that no queue starves
  VirtioBlockCounters counters_;
};

}  // namespace doppel
