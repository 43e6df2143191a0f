// VirtioBalloon: the traditional memory balloon. virtio 1.2 section 5.5.
#pragma once

#include <array>
#include <functional>
#include <optional>

#include "devices/queue_retry.h"
#include "devices/virtio_balloon_layout.h"
#include "virtio/virt_queue.h"
#include "virtio/virtio_device.h"

namespace doppel {

struct BalloonConfig {
  bool has_statistics = true;
  bool has_deflate_on_oom = true;
  bool has_reporting = true;
  bool has_free_page_hint = true;
  u32 target_pages = 0;  // to begin with, of 4 KiB
};

// Takes pages from the guest and gives what backed them to the host (GuestMemory::discard()): those the guest
// puts into the balloon, and those it reports as free. Deflated pages come back as zeroes when they are
// touched. Statistics arrive when asked for. Owned by its transport; called with the device lock held.
class VirtioBalloon final : public VirtioDevice {
 public:
  // 5.5.6.3: swap in/out, major and minor faults, free, total and available memory, caches, huge pages.
  static constexpr std::size_t kStatisticCount = 10;
  using Statistics = std::array<std::optional<u64>, kStatisticCount>;
  // Page numbers that are read from one inflate buffer; Linux puts 256 into one.
  static constexpr std::size_t kMaxPages = 4096;

  VirtioBalloon(const BalloonConfig& config, TimerQueue& timers);

  // How many pages of 4 KiB the guest should give up, and how many it says it has.
  void set_target_pages(u32 pages);
  u32 target_pages() const { return config_.target_pages; }
  u32 actual_pages() const { return config_.actual_pages; }

  // Asks for fresh statistics; false when the driver has given no buffer for them (yet).
  bool request_statistics();
  const Statistics& statistics() const { return statistics_; }
  // How often the driver gave some.
  u64 statistics_taken() const { return statistics_taken_; }

  // Asks the driver which pages are free (5.5.6.6). `on_hint` hears of each piece of RAM whose contents need
  // not be kept unless it is written again; the driver keeps the pages until end_free_page_hints().
  void begin_free_page_hints(std::function<void(GuestPhys, u64)> on_hint);
  void end_free_page_hints();
  bool has_finished_hints() const { return has_finished_hints_; }

  u64 discarded_pages() const { return discarded_pages_; }

  std::string_view name() const override { return "virtio_balloon"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

  u16 device_id() const override { return 5; }
  u64 device_features() const override { return offered_; }
  std::span<const u16> queue_sizes() const override { return kQueueSizes; }
  void read_config(u64 offset, std::span<u8> data) override;
  void write_config(u64 offset, std::span<const u8> data) override;
  void activate(VirtioHost& host, u64 features) override;
  void deactivate() override;
  void queue_notified(unsigned index) override;
  bool can_reset_queue() const override { return true; }
  void queue_reset(unsigned index) override;

 private:
  enum class Role : u8 { kInflate, kDeflate, kStatistics, kFreePageHint, kReporting, kNone };
  static constexpr std::array<u16, 5> kQueueSizes = {128, 128, 128, 128, 128};

  // 5.5.2: queues of features that were not accepted do not exist, and the later ones move up.
  Role role(unsigned index) const;
  unsigned queue_of(Role role) const;
  void inflate(const DescriptorChain& chain);
  void report(const DescriptorChain& chain);
  void take_hint(const DescriptorChain& chain);
  void take_statistics(DescriptorChain chain);
  void discard(GuestPhys address, u64 size);

  BalloonConfig initial_;
  u64 offered_;
  virtio_balloon::Config config_;
  QueueRetry retry_;
  VirtioHost* host_ = nullptr;
  u64 features_ = 0;
  std::optional<DescriptorChain> statistics_buffer_;  // the driver's, kept until statistics are wanted
  Statistics statistics_;
  std::function<void(GuestPhys, u64)> on_hint_;
  u32 hint_command_ = virtio_balloon::kFirstHintCommand;  // of the next round
  bool is_hinting_ = false;  // the driver has begun the round that the configuration asks for
  bool has_finished_hints_ = false;
  u64 discarded_pages_ = 0;
  u64 statistics_taken_ = 0;  // of this host's process, not of the guest's state
};

}  // namespace doppel
