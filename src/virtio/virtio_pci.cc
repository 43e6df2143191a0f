// The register BAR of virtio over PCI, and its interrupts.
#include "virtio/virtio_pci.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "virtio/virtio_pci_layout.h"

namespace doppel {

using namespace virtio_pci;

VirtioPci::VirtioPci(GuestMemory& memory, std::unique_ptr<VirtioDevice> device, const VirtioOptions& options)
    : device_(std::move(device)),
      core_(memory, *device_, options, *this),
      function_({.vendor_id = kVendor,
                 .device_id = static_cast<u16>(kFirstDevice + device_->device_id()),
                 .class_code = class_code(device_->device_id()),
                 .revision = 1,
                 .subsystem_vendor_id = kVendor,
                 // 4.1.2.1: at least 0x40.
                 .subsystem_id = static_cast<u16>(0x40 + device_->device_id()),
                 .has_interrupt_pin = true,
                 .name = device_->name()}),
      msix_(function_, kMsixBar, static_cast<u16>(core_.queue_count() + 1)),
      config_access_(function_),
      queue_vectors_(core_.queue_count(), kNoVector) {
  function_.add_bar(kRegisterBar, BarKind::kMemory64, kBarSize, *this);
  add_capabilities();
}

void VirtioPci::reset() {
  core_.reset();
  function_.reset();
  msix_.reset();
  device_features_select_ = 0;
  driver_features_select_ = 0;
  queue_select_ = 0;
  forget_vectors();
  set_isr(0);
}

void VirtioPci::forget_vectors() {
  config_vector_ = kNoVector;
  std::ranges::fill(queue_vectors_, kNoVector);
}

void VirtioPci::visit_state(StateVisitor& visitor) {
  function_.visit_state(visitor);
  msix_.visit_state(visitor);
  visitor.field("device_features_select", device_features_select_);
  visitor.field("driver_features_select", driver_features_select_);
  visitor.field("queue_select", queue_select_);
  visitor.field("config_vector", config_vector_);
  for (u16& vector : queue_vectors_) visitor.field("vector", vector);
  visitor.field("isr", isr_);
  core_.visit_state(visitor);
  if (!visitor.is_loading()) return;
  config_vector_ = usable_vector(config_vector_);
  for (u16& vector : queue_vectors_) vector = usable_vector(vector);
  set_isr(isr_);
}

void VirtioPci::set_isr(u8 value) {
  isr_ = value;
  function_.set_interrupt(value != 0);
}

void VirtioPci::queue_interrupt(unsigned queue) {
  if (msix_.is_enabled()) return msix_.raise(queue_vectors_[queue]);
  set_isr(isr_ | kInterruptQueue);
}

void VirtioPci::config_interrupt() {
  // 4.1.4.5.1: this bit is set with MSI-X too.
  set_isr(isr_ | kInterruptConfig);
  if (msix_.is_enabled()) msix_.raise(config_vector_);
}

void VirtioPci::read(u64 offset, std::span<u8> data) {
  if (offset < kIsrStart) return read_common(offset - kCommonStart, data);
  if (offset >= kDeviceStart && offset < kNotifyStart) return core_.read_config(offset - kDeviceStart, data);
  std::ranges::fill(data, u8{0});
  if (offset != kIsrStart) return;
  // 4.1.4.5: reading acknowledges.
  data[0] = isr_;
  set_isr(0);
}

void VirtioPci::write(u64 offset, std::span<const u8> data) {
  if (offset >= kNotifyStart) {
    // Without bus mastering the device may not look into memory (PCI 3.0 6.2.2).
    if (function_.is_bus_master())
      core_.notify(static_cast<unsigned>((offset - kNotifyStart) / kNotifyMultiplier));
  } else if (offset >= kDeviceStart) {
    core_.write_config(offset - kDeviceStart, data);
  } else if (offset < kIsrStart && data.size() == 8) {
    write_common(offset, 4, static_cast<u32>(load_le(data.first(4))));
    write_common(offset + 4, 4, static_cast<u32>(load_le(data.last(4))));
  } else if (offset < kIsrStart) {
    write_common(offset, static_cast<unsigned>(data.size()), static_cast<u32>(load_le(data)));
  }
}

void VirtioPci::read_common(u64 offset, std::span<u8> data) {
  CommonConfig common = {};
  common.device_feature_select = device_features_select_;
  common.device_feature = core_.device_features(device_features_select_);
  common.driver_feature_select = driver_features_select_;
  common.driver_feature = core_.driver_features(driver_features_select_);
  common.config_msix_vector = config_vector_;
  common.queue_count = static_cast<u16>(core_.queue_count());
  common.device_status = core_.status();
  common.config_generation = core_.config_generation();
  common.queue_select = queue_select_;
  if (const QueueRegisters* queue = core_.queue_registers(queue_select_); queue != nullptr) {
    common.queue_size = queue->size;
    common.queue_msix_vector = queue_vectors_[queue_select_];
    common.queue_enable = queue->is_enabled ? 1 : 0;
    common.queue_notify_off = queue_select_;
    common.queue_desc = queue->descriptors;
    common.queue_driver = queue->driver;
    common.queue_device = queue->device;
    common.queue_notify_data = queue_select_;
  }
  const u8* bytes = reinterpret_cast<const u8*>(&common);
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = offset + i < sizeof(common) ? bytes[offset + i] : u8{0};
  }
}

void VirtioPci::write_common(u64 offset, unsigned size, u32 value) {
  // 4.1.3.1: fields are written whole, those of 64 bits in halves.
  if (size == 1 && offset == offsetof(CommonConfig, device_status)) {
    write_status(static_cast<u8>(value));
  } else if (size == 2) {
    write_common_word(offset, static_cast<u16>(value));
  } else if (size == 4 && offset == offsetof(CommonConfig, device_feature_select)) {
    device_features_select_ = value;
  } else if (size == 4 && offset == offsetof(CommonConfig, driver_feature_select)) {
    driver_features_select_ = value;
  } else if (size == 4 && offset == offsetof(CommonConfig, driver_feature)) {
    core_.set_driver_features(driver_features_select_, value);
  } else if (size == 4) {
    write_queue_address(offset, value);
  }
}

void VirtioPci::write_common_word(u64 offset, u16 value) {
  switch (offset) {
    case offsetof(CommonConfig, config_msix_vector):
      config_vector_ = usable_vector(value);
      break;
    case offsetof(CommonConfig, queue_select):
      queue_select_ = value;
      break;
    case offsetof(CommonConfig, queue_size):
      if (QueueRegisters* queue = core_.writable_queue_registers(queue_select_)) queue->size = value;
      break;
    case offsetof(CommonConfig, queue_msix_vector):
      if (queue_select_ < core_.queue_count()) queue_vectors_[queue_select_] = usable_vector(value);
      break;
    case offsetof(CommonConfig, queue_enable):
      if (value == 1) core_.enable_queue(queue_select_);
      break;
    case offsetof(CommonConfig, queue_reset):
      if (value == 1) reset_queue();
      break;
    default:
      break;
  }
}

// 4.1.4.3: queue_reset and queue_enable read 0 as soon as it is over, which is at once.
void VirtioPci::reset_queue() {
  if (!core_.has_ring_reset() || queue_select_ >= core_.queue_count()) return;
  core_.reset_queue(queue_select_);
  queue_vectors_[queue_select_] = kNoVector;
}

void VirtioPci::write_queue_address(u64 offset, u32 value) {
  QueueRegisters* queue = core_.writable_queue_registers(queue_select_);
  constexpr u64 kFirst = offsetof(CommonConfig, queue_desc);
  constexpr u64 kEnd = offsetof(CommonConfig, queue_notify_data);
  if (queue == nullptr || offset < kFirst || offset >= kEnd || offset % 4 != 0) return;
  u64* const fields[] = {&queue->descriptors, &queue->driver, &queue->device};
  u64& field = *fields[(offset - kFirst) / 8];
  const unsigned shift = (offset - kFirst) % 8 == 4 ? 32 : 0;
  field = (field & ~(u64{0xffffffff} << shift)) | u64{value} << shift;
}

void VirtioPci::write_status(u8 value) {
  if (value == 0) {
    forget_vectors();
    set_isr(0);
  }
  core_.set_status(value);
}

}  // namespace doppel
