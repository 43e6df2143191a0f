// Taking requests from the queues, and giving them back.
#include "devices/virtio_block.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "base/verify.h"
#include "irq/timer_state.h"

namespace doppel {

using namespace virtio_block;

namespace {

constexpr unsigned kMaxQueues = 64;

// A tenth of a second may be saved up.
RateLimit limit_of(u64 per_second) {
  return {.per_second = per_second, .burst = std::max<u64>(per_second / 10, 1)};
}

u8 status_byte(BlockStatus status) {
  switch (status) {
    case BlockStatus::kOk:
      return kStatusOk;
    case BlockStatus::kUnsupported:
      return kStatusUnsupported;
    case BlockStatus::kIoError:
      break;
  }
  return kStatusIoError;
}

}  // namespace

VirtioBlock::VirtioBlock(std::unique_ptr<BlockBackend> backend, const VirtioBlockConfig& config,
                         TimerQueue& timers)
    : backend_(std::move(backend)),
      rules_{.limits = backend_->limits(), .max_pieces = kQueueSize},
      queue_sizes_(config.queues, kQueueSize),
      timers_(timers),
      bandwidth_(limit_of(config.bandwidth)),
      operations_(limit_of(config.operations)),
      limit_timer_(timers, [this] { process_all(); }) {
  VERIFY(config.queues >= 1 && config.queues <= kMaxQueues);
  std::copy_n(config.serial.begin(), std::min(config.serial.size(), id_.size()), id_.begin());
  backend_->set_client(*this);
}

VirtioBlock::~VirtioBlock() { backend_->abandon(); }

u64 VirtioBlock::device_features() const {
  const BlockLimits& limits = rules_.limits;
  u64 features = kFeatureSegMax | kFeatureBlockSize | kFeatureFlush | kFeatureTopology | kFeatureConfigWce;
  if (limits.is_read_only) features |= kFeatureReadOnly;
  if (queue_sizes_.size() > 1) features |= kFeatureMultiQueue;
  if (limits.can_discard) features |= kFeatureDiscard;
  if (limits.can_write_zeroes) features |= kFeatureWriteZeroes;
  return features;
}

Config VirtioBlock::config() const {
  const BlockLimits& limits = rules_.limits;
  const u32 ratio = std::max<u32>(limits.physical_block_size / limits.block_size, 1);
  Config config = {};
  config.capacity = limits.size / kSectorSize;
  config.seg_max = kQueueSize - 2;  // beside header and status
  config.blk_size = limits.block_size;
  config.physical_block_exp = static_cast<u8>(std::countr_zero(ratio));
  config.min_io_size = static_cast<u16>(ratio);
  config.writeback = is_writeback_ ? 1 : 0;
  config.num_queues = static_cast<u16>(queue_sizes_.size());
  if (limits.can_discard) {
    config.max_discard_sectors = VirtioBlockRules::kMaxRangeSectors;
    config.max_discard_seg = 1;
    config.discard_sector_alignment = static_cast<u32>(limits.physical_block_size / kSectorSize);
  }
  if (limits.can_write_zeroes) {
    config.max_write_zeroes_sectors = VirtioBlockRules::kMaxRangeSectors;
    config.max_write_zeroes_seg = 1;
    config.write_zeroes_may_unmap = limits.can_discard ? 1 : 0;
  }
  return config;
}

void VirtioBlock::read_config(u64 offset, std::span<u8> data) {
  const Config whole = config();
  std::ranges::fill(data, u8{0});
  if (offset >= sizeof(whole)) return;
  const u64 count = std::min<u64>(data.size(), sizeof(whole) - offset);
  std::memcpy(data.data(), reinterpret_cast<const u8*>(&whole) + offset, count);
}

// 5.2.5.2: only the cache mode is the driver's to choose.
void VirtioBlock::write_config(u64 offset, std::span<const u8> data) {
  if (offset == offsetof(Config, writeback) && data.size() == 1) is_writeback_ = data[0] != 0;
}

// 5.2.6.2: a driver that cannot flush gets a disk whose writes need none.
bool VirtioBlock::is_write_through() const {
  if ((features_ & kFeatureConfigWce) != 0) return !is_writeback_;
  return (features_ & kFeatureFlush) == 0;
}

void VirtioBlock::reset() {
  deactivate();
  bandwidth_.reset(timers_.now());
  operations_.reset(timers_.now());
}

void VirtioBlock::activate(VirtioHost& host, u64 features) {
  host_ = &host;
  features_ = features;
}

void VirtioBlock::deactivate() {
  forget_requests();
  host_ = nullptr;
  features_ = 0;
  is_writeback_ = true;
}

// abandon() returns when no host call is left that could write to guest memory.
void VirtioBlock::forget_requests() {
  backend_->abandon();
  limit_timer_.disarm();
  free_.clear();
  requests_.clear();
  loaded_.clear();
  next_order_ = 0;
  used_queues_ = 0;
  first_queue_ = 0;
}

void VirtioBlock::queue_notified(unsigned index) {
  ++counters_.notifications;
  process_queue(index);
  backend_->flush_submissions();
  notify_queues();
}

void VirtioBlock::process_all() {
  if (host_ == nullptr) return;
  const auto count = static_cast<unsigned>(queue_sizes_.size());
  for (unsigned i = 0; i < count; ++i) process_queue((first_queue_ + i) % count);
  first_queue_ = (first_queue_ + 1) % count;
  backend_->flush_submissions();
  notify_queues();
}

// While the rate limit holds requests back the driver need not notify: the timer looks again. It also does
// after a queue's worth of requests: a driver that refills its queue all the time must not keep the lock.
void VirtioBlock::process_queue(unsigned index) {
  if (host_ == nullptr || limit_timer_.is_armed()) return;
  VirtQueue& queue = host_->queue(index);
  queue.disable_notifications();
  unsigned taken = 0;
  do {
    while (auto chain = queue.pop()) {
      VirtioBlockRequest& request = *take_request();
      request.chain = std::move(*chain);
      request.queue = index;
      const VirtioBlockAction action = request.parse(rules_);
      if (!is_within_limits(request)) {
        queue.undo_pop(request.chain);
        free_.push_back(&request);
        return;
      }
      start(request, action);
      if (++taken == kQueueSize) return limit_timer_.arm(timers_.now());
    }
  } while (queue.enable_notifications());
}

bool VirtioBlock::is_within_limits(const VirtioBlockRequest& request) {
  const Nanoseconds now = timers_.now();
  const u64 bytes = request.memory.empty() ? 0 : request.length;
  const Nanoseconds ready = std::max(operations_.ready_time(1, now), bandwidth_.ready_time(bytes, now));
  if (ready > now) {
    limit_timer_.arm(ready);
    return false;
  }
  operations_.consume(1, now);
  bandwidth_.consume(bytes, now);
  return true;
}

void VirtioBlock::start(VirtioBlockRequest& request, VirtioBlockAction action) {
  switch (action) {
    case VirtioBlockAction::kSubmit:
      return submit(request);
    case VirtioBlockAction::kGetId:
      return answer_id(request);
    case VirtioBlockAction::kAnswer:
      break;
  }
  if (request.status != kStatusOk) {
    ++counters_.refused;
    LOG_GUEST("virtio block: request refused with status {}", request.status);
  }
  finish(request, request.status, 0);
}

void VirtioBlock::submit(VirtioBlockRequest& request) {
  VirtioBlockCounters::Operation& counter = counters_.operations[static_cast<std::size_t>(request.operation)];
  ++counter.requests;
  counter.bytes += request.length;
  request.order = next_order_++;
  request.is_in_flight = true;
  backend_->submit(request);
}

// 5.2.6: 20 bytes; the string ends at a zero byte when it is shorter.
void VirtioBlock::answer_id(VirtioBlockRequest& request) {
  const u64 room = request.chain.writable_size() - 1;
  const std::size_t count = request.chain.write(0, std::span(id_).first(std::min<u64>(room, id_.size())));
  finish(request, kStatusOk, static_cast<u32>(count));
}

void VirtioBlock::request_completed(BlockRequest& completed, BlockStatus status) {
  auto& request = static_cast<VirtioBlockRequest&>(completed);
  const bool is_written =
      request.operation == BlockOperation::kWrite || request.operation == BlockOperation::kWriteZeroes;
  if (status == BlockStatus::kOk && is_written && is_write_through() && !request.is_flushing) {
    request.is_flushing = true;
    request.operation = BlockOperation::kFlush;
    return backend_->submit(request);
  }
  request.is_in_flight = false;
  if (status != BlockStatus::kOk) {
    ++counters_.operations[static_cast<std::size_t>(request.operation)].errors;
  }
  const bool is_read = request.operation == BlockOperation::kRead;
  // A failed read may have written anything.
  if (is_read && status != BlockStatus::kOk) request.chain.announce_writes(0, request.length);
  finish(request, status_byte(status),
         is_read && status == BlockStatus::kOk ? static_cast<u32>(request.length) : 0);
}

// `written`: bytes from the start of the writable part. The status byte is its last one; 5.2.6.4.
void VirtioBlock::finish(VirtioBlockRequest& request, u8 status, u32 written) {
  const u64 room = request.chain.writable_size();
  if (room != 0) request.chain.write(room - 1, {&status, 1});
  // 2.7.8.2: no more than what was written without a gap.
  if (room != 0 && written == room - 1) ++written;
  host_->queue(request.queue).push(request.chain, written);
  used_queues_ |= u64{1} << request.queue;
  free_.push_back(&request);
}

void VirtioBlock::notify_queues() {
  for (u64 left = std::exchange(used_queues_, 0); left != 0; left &= left - 1) {
    ++counters_.batches;
    host_->notify_queue(static_cast<unsigned>(std::countr_zero(left)));
  }
}

std::vector<std::pair<std::string_view, u64>> VirtioBlock::counter_values() const {
  using Operation = BlockOperation;
  u64 errors = 0;
  for (const VirtioBlockCounters::Operation& operation : counters_.operations) errors += operation.errors;
  return {{"read_requests", counters_.of(Operation::kRead).requests},
          {"read_bytes", counters_.of(Operation::kRead).bytes},
          {"write_requests", counters_.of(Operation::kWrite).requests},
          {"write_bytes", counters_.of(Operation::kWrite).bytes},
          {"flush_requests", counters_.of(Operation::kFlush).requests},
          {"discard_requests", counters_.of(Operation::kDiscard).requests},
          {"write_zeroes_requests", counters_.of(Operation::kWriteZeroes).requests},
          {"errors", errors},
          {"refused_requests", counters_.refused},
          {"notifications", counters_.notifications},
          {"interrupts", counters_.batches},
          {"copied_bytes", backend_->copied_bytes()}};
}

VirtioBlockRequest* VirtioBlock::take_request() {
  if (free_.empty()) {
    requests_.push_back(std::make_unique<VirtioBlockRequest>());
    return requests_.back().get();
  }
  VirtioBlockRequest* request = free_.back();
  free_.pop_back();
  return request;
}

// In order of submission; those that resume() has not issued yet included.
std::vector<VirtioBlockRequest*> VirtioBlock::in_flight() {
  std::vector<VirtioBlockRequest*> found = loaded_;
  for (const auto& request : requests_) {
    if (request->is_in_flight) found.push_back(request.get());
  }
  std::ranges::sort(found, {}, &VirtioBlockRequest::order);
  return found;
}

void VirtioBlock::visit_state(StateVisitor& visitor) {
  visitor.field("is_writeback", is_writeback_);
  bandwidth_.visit_state(visitor);
  operations_.visit_state(visitor);
  visit_timer(visitor, "limit_timer", limit_timer_);
  std::vector<VirtioBlockRequest*> requests = in_flight();
  u32 count = static_cast<u32>(requests.size());
  visitor.field("in_flight", count);
  if (visitor.is_loading()) {
    const u64 most = host_ == nullptr ? 0 : u64{kQueueSize} * queue_sizes_.size();
    if (count > most) return visitor.reject("more requests than the queues hold");
    requests.assign(count, nullptr);
  }
  for (VirtioBlockRequest*& request : requests) {
    if (request == nullptr) request = take_request();
    visitor.begin("request");
    visitor.field("queue", request->queue);
    if (request->queue >= queue_sizes_.size()) {
      request->queue = 0;
      visitor.reject("a queue that the disk does not have");
    }
    host_->queue(request->queue).visit_chain(visitor, request->chain);
    visitor.end();
  }
  if (!visitor.is_loading()) return;
  loaded_ = requests;
  for (VirtioBlockRequest* request : loaded_) request->order = next_order_++;
}

// Also looks at the queues: the rate limit may have left requests there.
void VirtioBlock::resume() {
  for (VirtioBlockRequest* request : std::exchange(loaded_, {})) start(*request, request->parse(rules_));
  process_all();
}

}  // namespace doppel
