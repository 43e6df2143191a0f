// VirtioTransportCore: what virtio-pci and virtio-mmio have in common: status, features, queues, reset.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "virtio/virt_queue.h"
#include "virtio/virtio_device.h"
#include "virtio/virtio_feature.h"

namespace doppel {

// How a transport interrupts the driver. Called with the device lock held.
class VirtioInterrupts {
 public:
  virtual ~VirtioInterrupts() = default;
  virtual void queue_interrupt(unsigned queue) = 0;
  virtual void config_interrupt() = 0;
};

// What the driver wrote about one queue.
struct QueueRegisters {
  u16 size = 0;  // at most what the device offers; 0 is refused when the queue is enabled
  u64 descriptors = 0;
  u64 driver = 0;
  u64 device = 0;
  bool is_enabled = false;
};

// The driver's view of a virtio device, whatever carries it: the status machine (virtio 1.2 section 3.1),
// feature negotiation (2.2), queue setup and reset (2.6), configuration (2.5). What the driver does against
// the rules is ignored. Owned by the transport, whose registers call it with the device lock held.
class VirtioTransportCore final : public VirtioHost {
 public:
  // All referred to outlive it.
  VirtioTransportCore(GuestMemory& memory, VirtioDevice& device, const VirtioOptions& options,
                      VirtioInterrupts& interrupts);

  VirtioDevice& device() { return device_; }

  // 32 bits of the offered or accepted features each; those above 64 are 0.
  u32 device_features(u32 select) const;
  u32 driver_features(u32 select) const;
  void set_driver_features(u32 select, u32 value);

  u8 status() const { return status_; }
  // 0 resets. Bits are only ever added; FEATURES_OK stays clear when the accepted features are impossible.
  void set_status(u8 value);
  u8 config_generation() const { return config_generation_; }

  // The driver may reset single queues: VIRTIO_F_RING_RESET was negotiated.
  bool has_ring_reset() const { return (accepted_ & kVirtioFRingReset) != 0; }

  void read_config(u64 offset, std::span<u8> data) { device_.read_config(offset, data); }
  void write_config(u64 offset, std::span<const u8> data) { device_.write_config(offset, data); }

  unsigned queue_count() const { return static_cast<unsigned>(queues_.size()); }
  // Null beyond the last queue, here and below.
  const QueueRegisters* queue_registers(unsigned index) const;
  // Null also while the queue is enabled: nothing may be changed then.
  QueueRegisters* writable_queue_registers(unsigned index);
  u16 max_queue_size(unsigned index) const;
  void enable_queue(unsigned index);
  // QueueReady = 0, or queue_reset = 1: forgets the queue, with its registers at their defaults.
  void reset_queue(unsigned index);
  void notify(unsigned index);

  // VirtioHost
  VirtQueue& queue(unsigned index) override { return *queues_[index]; }
  void notify_queue(unsigned index) override;
  void notify_config() override;

  // Power-on state of all, the device included.
  void reset();
  void visit_state(StateVisitor& visitor);
  void pause() { device_.pause(); }
  void resume() { device_.resume(); }

  void add_metrics(MetricList& list) const;
  // For tests and statistics: how often a queue was found broken.
  u64 broken_queues() const { return broken_queues_; }

 private:
  bool has(u8 status_bit) const { return (status_ & status_bit) != 0; }
  bool are_features_possible() const;
  RingLayout layout(unsigned index) const;
  void driver_reset();
  void queue_broken(unsigned index, std::string_view why);
  void finish_loading(StateVisitor& visitor);

  VirtioDevice& device_;
  VirtioInterrupts& interrupts_;
  u64 offered_ = 0;
  u64 accepted_ = 0;
  u8 status_ = 0;
  u8 config_generation_ = 0;
  bool is_active_ = false;   // between the device's activate() and deactivate()
  bool is_loading_ = false;  // a queue that breaks now was broken when it was saved
  std::vector<QueueRegisters> registers_;
  std::vector<std::unique_ptr<VirtQueue>> queues_;
  u64 broken_queues_ = 0;
  // For statistics, by queue.
  std::vector<u64> notifications_;
  std::vector<u64> interrupts_raised_;
};

}  // namespace doppel
