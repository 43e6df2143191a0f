// EchoDevice: a virtio device for tests: answers each chain with the bytes it was given.
#pragma once

#include <array>
#include <deque>
#include <utility>

#include "virtio/virt_queue.h"
#include "virtio/virtio_device.h"

namespace doppel {

// Two queues; queue 0 is answered at once, chains of queue 1 wait until answer() or forever. Owned by a test.
class EchoDevice final : public VirtioDevice {
 public:
  static constexpr u64 kFeature = 1;

  std::string_view name() const override { return "echo"; }
  void reset() override { config_.fill(0); }
  void visit_state(StateVisitor& visitor) override {
    visitor.field("config", config_);
    auto count = static_cast<u32>(waiting_.size());
    visitor.field("waiting", count);
    if (visitor.is_loading()) waiting_.resize(host_ != nullptr && count <= kQueueSize ? count : 0);
    for (DescriptorChain& chain : waiting_) host_->queue(1).visit_chain(visitor, chain);
  }

  u16 device_id() const override { return 42; }
  u64 device_features() const override { return kFeature; }
  std::span<const u16> queue_sizes() const override { return kQueueSizes; }
  void read_config(u64 offset, std::span<u8> data) override {
    for (u8& byte : data) byte = offset < config_.size() ? config_[offset++] : u8{0};
  }
  void write_config(u64 offset, std::span<const u8> data) override {
    for (const u8 byte : data) {
      if (offset < config_.size()) config_[offset++] = byte;
    }
  }
  void activate(VirtioHost& host, u64 features) override {
    host_ = &host;
    features_ = features;
  }
  void deactivate() override {
    host_ = nullptr;
    waiting_.clear();
  }
  void queue_notified(unsigned index) override {
    VirtQueue& queue = host_->queue(index);
    while (std::optional<DescriptorChain> chain = queue.pop()) {
      if (index == 0) {
        echo(queue, *chain);
      } else {
        waiting_.push_back(std::move(*chain));
      }
    }
    host_->notify_queue(index);
  }
  bool can_reset_queue() const override { return true; }
  void queue_reset(unsigned index) override {
    if (index == 1) waiting_.clear();
  }

  // Answers the newest chain of queue 1, which is not the order they came in.
  void answer() {
    const DescriptorChain chain = std::move(waiting_.back());
    waiting_.pop_back();
    echo(host_->queue(1), chain);
    host_->notify_queue(1);
  }
  std::size_t waiting() const { return waiting_.size(); }
  VirtioHost* host() { return host_; }
  u64 features() const { return features_; }

 private:
  static constexpr u16 kQueueSize = 256;
  static constexpr std::array<u16, 2> kQueueSizes = {kQueueSize, kQueueSize};

  static void echo(VirtQueue& queue, const DescriptorChain& chain) {
    std::vector<u8> bytes(std::min<u64>(chain.readable_size(), 65536));
    chain.read(0, bytes);
    queue.push(chain, static_cast<u32>(chain.write(0, bytes)));
  }

  VirtioHost* host_ = nullptr;
  u64 features_ = 0;
  std::array<u8, 8> config_{};
  std::deque<DescriptorChain> waiting_;
};

}  // namespace doppel
