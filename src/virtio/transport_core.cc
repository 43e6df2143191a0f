// Negotiation, queue setup and reset, common to the transports.
#include "virtio/transport_core.h"

#include <utility>

#include "base/log.h"

namespace doppel {

using namespace virtio_status;

VirtioTransportCore::VirtioTransportCore(GuestMemory& memory, VirtioDevice& device,
                                         const VirtioOptions& options, VirtioInterrupts& interrupts)
    : device_(device), interrupts_(interrupts) {
  offered_ = device.device_features() | kVirtioFVersion1;
  if (options.has_indirect) offered_ |= kVirtioFIndirectDescriptors;
  if (options.has_event_index) offered_ |= kVirtioFEventIndex;
  if (options.has_packed) offered_ |= kVirtioFRingPacked;
  if (device.can_reset_queue()) offered_ |= kVirtioFRingReset;
  for (const u16 size : device.queue_sizes()) {
    const auto index = static_cast<unsigned>(queues_.size());
    queues_.push_back(std::make_unique<VirtQueue>(
        memory, size, [this, index](std::string_view why) { queue_broken(index, why); }));
    registers_.push_back({.size = size});
  }
  notifications_.resize(queues_.size());
  interrupts_raised_.resize(queues_.size());
}

u32 VirtioTransportCore::device_features(u32 select) const {
  return select < 2 ? static_cast<u32>(offered_ >> (32 * select)) : 0;
}

u32 VirtioTransportCore::driver_features(u32 select) const {
  return select < 2 ? static_cast<u32>(accepted_ >> (32 * select)) : 0;
}

void VirtioTransportCore::set_driver_features(u32 select, u32 value) {
  if (has(kFeaturesOk) || select >= 2) return;
  accepted_ = (accepted_ & ~(u64{0xffffffff} << (32 * select))) | u64{value} << (32 * select);
}

bool VirtioTransportCore::are_features_possible() const {
  // 6.1: no legacy drivers, so VERSION_1 is a must.
  return (accepted_ & ~offered_) == 0 && (accepted_ & kVirtioFVersion1) != 0;
}

void VirtioTransportCore::set_status(u8 value) {
  if (value == 0) return driver_reset();
  u8 added = value & static_cast<u8>(~(status_ | kNeedsReset));
  const bool is_refused = (added & kFeaturesOk) != 0 && !are_features_possible();
  if (is_refused) {
    LOG_GUEST("virtio {}: features {:#x} refused, offered {:#x}", device_.name(), accepted_, offered_);
    added &= static_cast<u8>(~kFeaturesOk);
  }
  status_ |= added & static_cast<u8>(~kDriverOk);
  // 3.1.1: the driver is ready only after its features were accepted.
  if ((added & kDriverOk) == 0 || !has(kFeaturesOk) || has(kNeedsReset)) return;
  status_ |= kDriverOk;
  is_active_ = true;
  device_.activate(*this, accepted_);
}

void VirtioTransportCore::driver_reset() {
  if (std::exchange(is_active_, false)) device_.deactivate();
  status_ = 0;
  accepted_ = 0;
  for (unsigned index = 0; index < queue_count(); ++index) {
    queues_[index]->reset();
    registers_[index] = {.size = queues_[index]->max_size()};
  }
}

void VirtioTransportCore::reset() {
  driver_reset();
  config_generation_ = 0;
  device_.reset();
}

const QueueRegisters* VirtioTransportCore::queue_registers(unsigned index) const {
  return index < queue_count() ? &registers_[index] : nullptr;
}

QueueRegisters* VirtioTransportCore::writable_queue_registers(unsigned index) {
  return index < queue_count() && !registers_[index].is_enabled ? &registers_[index] : nullptr;
}

u16 VirtioTransportCore::max_queue_size(unsigned index) const {
  return index < queue_count() ? queues_[index]->max_size() : u16{0};
}

RingLayout VirtioTransportCore::layout(unsigned index) const {
  const QueueRegisters& written = registers_[index];
  return {.size = written.size,
          .descriptors = GuestPhys(written.descriptors),
          .driver = GuestPhys(written.driver),
          .device = GuestPhys(written.device),
          .is_packed = (accepted_ & kVirtioFRingPacked) != 0,
          .has_event_index = (accepted_ & kVirtioFEventIndex) != 0,
          .has_indirect = (accepted_ & kVirtioFIndirectDescriptors) != 0};
}

void VirtioTransportCore::enable_queue(unsigned index) {
  if (index >= queue_count() || registers_[index].is_enabled || !has(kFeaturesOk)) return;
  registers_[index].is_enabled = true;
  queues_[index]->enable(layout(index));
}

void VirtioTransportCore::reset_queue(unsigned index) {
  if (index >= queue_count()) return;
  const bool was_enabled = registers_[index].is_enabled;
  queues_[index]->reset();
  registers_[index] = {.size = queues_[index]->max_size()};
  if (is_active_ && was_enabled) device_.queue_reset(index);
}

void VirtioTransportCore::notify(unsigned index) {
  // 3.1.1: nothing is consumed before the driver is ready.
  if (!is_active_ || index >= queue_count() || !queues_[index]->is_enabled()) return;
  ++notifications_[index];
  device_.queue_notified(index);
}

void VirtioTransportCore::notify_queue(unsigned index) {
  if (!is_active_ || !queues_[index]->should_interrupt()) return;
  ++interrupts_raised_[index];
  interrupts_.queue_interrupt(index);
}

void VirtioTransportCore::add_metrics(MetricList& list) const {
  static constexpr MetricKind kQueueEvents{"virtio_queue_events",
                                           "Notifications by drivers, interrupts to them."};
  const std::string name(device_.name());
  for (unsigned i = 0; i < queue_count(); ++i) {
    const std::string queue = std::to_string(i);
    list.add(kQueueEvents, notifications_[i], {{"type", name}, {"queue", queue}, {"event", "notification"}});
    list.add(kQueueEvents, interrupts_raised_[i], {{"type", name}, {"queue", queue}, {"event", "interrupt"}});
  }
  list.add(kQueueEvents, broken_queues_, {{"type", name}, {"queue", "any"}, {"event", "broken"}});
  device_.add_metrics(list);
}

void VirtioTransportCore::notify_config() {
  ++config_generation_;
  // 2.1.2: no notification before DRIVER_OK.
  if (has(kDriverOk)) interrupts_.config_interrupt();
}

void VirtioTransportCore::queue_broken(unsigned index, std::string_view why) {
  if (is_loading_) return;
  ++broken_queues_;
  LOG_GUEST("virtio {}: queue {} is broken: {}", device_.name(), index, why);
  status_ |= kNeedsReset;
  // 2.1.2: tell a driver that is ready.
  if (has(kDriverOk)) interrupts_.config_interrupt();
}

void VirtioTransportCore::visit_state(StateVisitor& visitor) {
  visitor.begin("virtio");
  if (visitor.is_loading()) driver_reset();
  is_loading_ = visitor.is_loading();
  visitor.field("status", status_);
  visitor.field("accepted", accepted_);
  visitor.field("config_generation", config_generation_);
  visitor.field("is_active", is_active_);
  // Until it is activated here a device in the state being loaded has nothing to stop.
  const bool is_active = std::exchange(is_active_, is_loading_ ? false : is_active_);
  for (unsigned index = 0; index < queue_count(); ++index) {
    visitor.begin("queue");
    QueueRegisters& written = registers_[index];
    visitor.field("size", written.size);
    visitor.field("descriptors", written.descriptors);
    visitor.field("driver", written.driver);
    visitor.field("device", written.device);
    visitor.field("is_enabled", written.is_enabled);
    if (is_loading_ && written.is_enabled) queues_[index]->enable(layout(index));
    queues_[index]->visit_state(visitor);
    visitor.end();
  }
  if (is_loading_) finish_loading(visitor);
  if (is_loading_ && is_active && has(kDriverOk)) {
    is_active_ = true;
    device_.activate(*this, accepted_);
  }
  is_loading_ = false;
  visitor.begin(device_.name());
  device_.visit_state(visitor);
  visitor.end();
  visitor.end();
}

void VirtioTransportCore::finish_loading(StateVisitor& visitor) {
  const bool is_negotiated = !has(kDriverOk) || has(kFeaturesOk);
  if (is_negotiated && (!has(kFeaturesOk) || are_features_possible())) return;
  status_ = 0;
  visitor.reject("virtio status and features that cannot be");
}

}  // namespace doppel
