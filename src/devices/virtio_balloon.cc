// The balloon's queues and configuration.
#include "devices/virtio_balloon.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace doppel {

using namespace virtio_balloon;

namespace {

constexpr u64 if_true(bool condition, u64 feature) { return condition ? feature : 0; }

}  // namespace

VirtioBalloon::VirtioBalloon(const BalloonConfig& config, TimerQueue& timers)
    : initial_(config),
      offered_(kFeatureMustTellHost | kFeaturePagePoison |
               if_true(config.has_statistics, kFeatureStatistics) |
               if_true(config.has_deflate_on_oom, kFeatureDeflateOnOom) |
               if_true(config.has_reporting, kFeatureReporting) |
               if_true(config.has_free_page_hint, kFeatureFreePageHint)),
      retry_(timers, [this](unsigned queue) { queue_notified(queue); }) {
  config_.target_pages = initial_.target_pages;
}

void VirtioBalloon::reset() {
  config_ = {.target_pages = initial_.target_pages};
  statistics_ = {};
  hint_command_ = kFirstHintCommand;
  has_finished_hints_ = false;
  discarded_pages_ = 0;
}

void VirtioBalloon::set_target_pages(u32 pages) {
  config_.target_pages = pages;
  if (host_ != nullptr) host_->notify_config();
}

void VirtioBalloon::read_config(u64 offset, std::span<u8> data) {
  const u8* bytes = reinterpret_cast<const u8*>(&config_);
  for (u8& byte : data) {
    byte = offset < sizeof(config_) ? bytes[offset] : u8{0};
    ++offset;
  }
}

void VirtioBalloon::write_config(u64 offset, std::span<const u8> data) {
  u8* bytes = reinterpret_cast<u8*>(&config_);
  auto is_writable = [](u64 at) {
    return (at >= offsetof(Config, actual_pages) && at < offsetof(Config, free_page_hint_command)) ||
           (at >= offsetof(Config, poison_value) && at < sizeof(Config));
  };
  for (const u8 byte : data) {
    if (is_writable(offset)) bytes[offset] = byte;
    ++offset;
  }
}

void VirtioBalloon::activate(VirtioHost& host, u64 features) {
  host_ = &host;
  features_ = features;
}

void VirtioBalloon::deactivate() {
  host_ = nullptr;
  features_ = 0;
  retry_.cancel();
  statistics_buffer_.reset();
  is_hinting_ = false;
  // 5.5.5: a new driver begins with an empty balloon.
  config_.actual_pages = 0;
  config_.poison_value = 0;
}

void VirtioBalloon::queue_reset(unsigned index) {
  if (role(index) == Role::kStatistics) statistics_buffer_.reset();
}

VirtioBalloon::Role VirtioBalloon::role(unsigned index) const {
  if (index < 2) return index == 0 ? Role::kInflate : Role::kDeflate;
  unsigned next = 2;
  auto is_next = [&](u64 feature) { return (features_ & feature) != 0 && next++ == index; };
  if (is_next(kFeatureStatistics)) return Role::kStatistics;
  if (is_next(kFeatureFreePageHint)) return Role::kFreePageHint;
  return is_next(kFeatureReporting) ? Role::kReporting : Role::kNone;
}

unsigned VirtioBalloon::queue_of(Role wanted) const {
  unsigned index = 0;
  while (index < kQueueSizes.size() && role(index) != wanted) ++index;
  return index;
}

void VirtioBalloon::queue_notified(unsigned index) {
  const Role kind = role(index);
  if (host_ == nullptr || index >= kQueueSizes.size() || kind == Role::kNone) return;
  VirtQueue& queue = host_->queue(index);
  for (unsigned count = 0;; ++count) {
    if (count == kQueueSizes[index]) {
      retry_.later(index);
      break;
    }
    auto chain = queue.pop();
    if (!chain) break;
    if (kind == Role::kStatistics) {
      take_statistics(std::move(*chain));
      continue;
    }
    if (kind == Role::kInflate) inflate(*chain);
    if (kind == Role::kFreePageHint) take_hint(*chain);
    if (kind == Role::kReporting) report(*chain);
    queue.push(*chain, 0);
  }
  host_->notify_queue(index);
}

void VirtioBalloon::inflate(const DescriptorChain& chain) {
  std::vector<u32> pages(std::min<u64>(chain.readable_size() / sizeof(u32), kMaxPages));
  chain.read(0, {reinterpret_cast<u8*>(pages.data()), pages.size() * sizeof(u32)});
  std::ranges::sort(pages);
  // Neighbours together: each discard is a system call.
  for (std::size_t first = 0; first < pages.size();) {
    std::size_t last = first + 1;
    while (last < pages.size() && pages[last] - pages[last - 1] <= 1) ++last;
    const u64 size = (u64{pages[last - 1]} - pages[first] + 1) << kPageShift;
    discard(GuestPhys(u64{pages[first]} << kPageShift), size);
    first = last;
  }
}

void VirtioBalloon::discard(GuestPhys address, u64 size) {
  GuestMemory& memory = host_->queue(0).memory();
  const GuestPhys end = address + size;
  if (memory.is_ram(address, size)) {
    memory.discard(address, size);
    discarded_pages_ += size >> kPageShift;
    return;
  }
  // A run that is not RAM as a whole: what is not, is skipped.
  for (; address != end; address = address + kPageSize) {
    if (!memory.is_ram(address, kPageSize)) continue;
    memory.discard(address, kPageSize);
    ++discarded_pages_;
  }
}

void VirtioBalloon::report(const DescriptorChain& chain) {
  // 5.5.6.7.2: pages that the driver fills with a pattern must keep it.
  if (config_.poison_value != 0) return;
  for (const iovec& part : chain.writable()) {
    const GuestPhys address = chain.guest_address(part.iov_base);
    const u64 start = align_up(address.value(), kPageSize);
    const u64 end = align_down(address.value() + part.iov_len, kPageSize);
    if (start < end) discard(GuestPhys(start), end - start);
  }
}

void VirtioBalloon::take_statistics(DescriptorChain chain) {
  for (u64 offset = 0; offset < 64 * kStatisticSize; offset += kStatisticSize) {
    const auto tag = chain.read_value<u16>(offset);
    const auto value = chain.read_value<u64>(offset + sizeof(u16));
    if (!tag || !value) break;
    if (*tag < statistics_.size()) statistics_[*tag] = value;
  }
  ++statistics_taken_;
  // 5.5.6.3.1: there is one buffer; a driver that gives more gets the older one back.
  if (statistics_buffer_) host_->queue(queue_of(Role::kStatistics)).push(*statistics_buffer_, 0);
  statistics_buffer_ = std::move(chain);
}

bool VirtioBalloon::request_statistics() {
  if (host_ == nullptr || (features_ & kFeatureStatistics) == 0) return false;
  const unsigned index = queue_of(Role::kStatistics);
  // Linux announces its first buffer before the device is ready to hear of it.
  if (!statistics_buffer_) queue_notified(index);
  if (!statistics_buffer_) return false;
  host_->queue(index).push(*statistics_buffer_, 0);
  statistics_buffer_.reset();
  host_->notify_queue(index);
  return true;
}

void VirtioBalloon::begin_free_page_hints(std::function<void(GuestPhys, u64)> on_hint) {
  on_hint_ = std::move(on_hint);
  has_finished_hints_ = false;
  is_hinting_ = false;
  config_.free_page_hint_command = hint_command_;
  hint_command_ = std::max(hint_command_ + 1, kFirstHintCommand);
  if (host_ != nullptr) host_->notify_config();
}

void VirtioBalloon::end_free_page_hints() {
  on_hint_ = nullptr;
  is_hinting_ = false;
  config_.free_page_hint_command = kHintDone;
  if (host_ != nullptr) host_->notify_config();
}

void VirtioBalloon::take_hint(const DescriptorChain& chain) {
  if (const auto command = chain.read_value<u32>(0)) {
    if (is_hinting_ && *command == kHintStop) has_finished_hints_ = true;
    is_hinting_ = *command >= kFirstHintCommand && *command == config_.free_page_hint_command;
  }
  if (!is_hinting_ || !on_hint_ || config_.poison_value != 0) return;
  for (const iovec& part : chain.writable()) on_hint_(chain.guest_address(part.iov_base), part.iov_len);
}

void VirtioBalloon::visit_state(StateVisitor& visitor) {
  retry_.visit_state(visitor);
  visitor.field("target_pages", config_.target_pages);
  visitor.field("actual_pages", config_.actual_pages);
  visitor.field("free_page_hint_command", config_.free_page_hint_command);
  visitor.field("poison_value", config_.poison_value);
  visitor.field("hint_command", hint_command_);
  visitor.field("is_hinting", is_hinting_);
  visitor.field("has_finished_hints", has_finished_hints_);
  visitor.field("discarded_pages", discarded_pages_);
  for (std::optional<u64>& statistic : statistics_) {
    bool is_known = statistic.has_value();
    u64 value = statistic.value_or(0);
    visitor.field("is_known", is_known);
    visitor.field("value", value);
    statistic = is_known ? std::optional(value) : std::nullopt;
  }
  bool has_buffer = statistics_buffer_.has_value();
  visitor.field("has_statistics_buffer", has_buffer);
  if (visitor.is_loading()) statistics_buffer_.reset();
  const unsigned index = queue_of(Role::kStatistics);
  if (!has_buffer || host_ == nullptr || index >= kQueueSizes.size()) return;
  if (!statistics_buffer_) statistics_buffer_.emplace();
  host_->queue(index).visit_chain(visitor, *statistics_buffer_);
}

}  // namespace doppel
