// The register block of virtio over MMIO.
#include "virtio/virtio_mmio.h"

#include <algorithm>
#include <utility>

namespace doppel {
namespace {

// 4.2.2, table 4.1.
enum Register : u64 {
  kMagic = 0x000,
  kVersion = 0x004,
  kDeviceId = 0x008,
  kVendorId = 0x00c,
  kDeviceFeatures = 0x010,
  kDeviceFeaturesSelect = 0x014,
  kDriverFeatures = 0x020,
  kDriverFeaturesSelect = 0x024,
  kQueueSelect = 0x030,
  kQueueSizeMax = 0x034,
  kQueueSize = 0x038,
  kQueueReady = 0x044,
  kQueueNotify = 0x050,
  kInterruptStatus = 0x060,
  kInterruptAcknowledge = 0x064,
  kStatus = 0x070,
  kQueueDescriptorsLow = 0x080,
  kQueueDescriptorsHigh = 0x084,
  kQueueDriverLow = 0x090,
  kQueueDriverHigh = 0x094,
  kQueueDeviceLow = 0x0a0,
  kQueueDeviceHigh = 0x0a4,
  kSharedMemoryLengthLow = 0x0b0,
  kSharedMemoryBaseHigh = 0x0bc,
  kQueueReset = 0x0c0,
  kConfigGeneration = 0x0fc,
  kConfig = 0x100,
};

constexpr u32 kMagicValue = 0x74726976;  // "virt"
constexpr u32 kVendor = 0x50504f44;      // "DOPP"

void set_low(u64& target, u32 value) { target = (target & ~u64{0xffffffff}) | value; }
void set_high(u64& target, u32 value) { target = (target & 0xffffffff) | u64{value} << 32; }

}  // namespace

VirtioMmio::VirtioMmio(GuestMemory& memory, std::unique_ptr<VirtioDevice> device,
                       const VirtioOptions& options, InterruptLine& line)
    : device_(std::move(device)), core_(memory, *device_, options, *this), line_(line) {}

void VirtioMmio::reset() {
  core_.reset();
  device_features_select_ = 0;
  driver_features_select_ = 0;
  queue_select_ = 0;
  set_interrupts(0);
}

void VirtioMmio::visit_state(StateVisitor& visitor) {
  visitor.field("device_features_select", device_features_select_);
  visitor.field("driver_features_select", driver_features_select_);
  visitor.field("queue_select", queue_select_);
  visitor.field("interrupts", interrupts_);
  core_.visit_state(visitor);
  if (visitor.is_loading()) set_interrupts(interrupts_);
}

void VirtioMmio::set_interrupts(u32 value) {
  interrupts_ = value;
  line_.set_level(value != 0);
}

void VirtioMmio::queue_interrupt(unsigned) { set_interrupts(interrupts_ | kInterruptQueue); }

void VirtioMmio::config_interrupt() { set_interrupts(interrupts_ | kInterruptConfig); }

void VirtioMmio::read(u64 offset, std::span<u8> data) {
  if (offset >= kConfig) return core_.read_config(offset - kConfig, data);
  std::ranges::fill(data, u8{0});
  if (offset % 4 == 0 && data.size() == 4) store_le(data, read_register(offset));
}

void VirtioMmio::write(u64 offset, std::span<const u8> data) {
  if (offset >= kConfig) return core_.write_config(offset - kConfig, data);
  if (offset % 4 == 0 && data.size() == 4) write_register(offset, static_cast<u32>(load_le(data)));
}

u32 VirtioMmio::read_register(u64 offset) const {
  // 4.2.2: no shared memory region exists, whichever is selected.
  if (offset >= kSharedMemoryLengthLow && offset <= kSharedMemoryBaseHigh) return 0xffffffff;
  switch (offset) {
    case kMagic:
      return kMagicValue;
    case kVersion:
      return 2;
    case kDeviceId:
      return device_->device_id();
    case kVendorId:
      return kVendor;
    case kDeviceFeatures:
      return core_.device_features(device_features_select_);
    case kInterruptStatus:
      return interrupts_;
    case kStatus:
      return core_.status();
    case kConfigGeneration:
      return core_.config_generation();
    default:
      return read_queue_register(offset);
  }
}

u32 VirtioMmio::read_queue_register(u64 offset) const {
  const QueueRegisters* queue = core_.queue_registers(queue_select_);
  if (queue == nullptr) return 0;
  if (offset == kQueueSizeMax) return core_.max_queue_size(queue_select_);
  return offset == kQueueReady && queue->is_enabled ? 1 : 0;
}

void VirtioMmio::write_register(u64 offset, u32 value) {
  switch (offset) {
    case kDeviceFeaturesSelect:
      device_features_select_ = value;
      break;
    case kDriverFeatures:
      core_.set_driver_features(driver_features_select_, value);
      break;
    case kDriverFeaturesSelect:
      driver_features_select_ = value;
      break;
    case kQueueSelect:
      queue_select_ = value;
      break;
    case kQueueNotify:
      core_.notify(value);
      break;
    case kInterruptAcknowledge:
      set_interrupts(interrupts_ & ~value);
      break;
    case kStatus:
      if ((value & 0xff) == 0) set_interrupts(0);
      core_.set_status(static_cast<u8>(value));
      break;
    default:
      write_queue_register(offset, value);
  }
}

void VirtioMmio::write_queue_register(u64 offset, u32 value) {
  if (offset == kQueueReady) {
    return (value & 1) != 0 ? core_.enable_queue(queue_select_) : core_.reset_queue(queue_select_);
  }
  if (offset == kQueueReset) {
    if ((value & 1) != 0 && core_.has_ring_reset()) core_.reset_queue(queue_select_);
    return;
  }
  QueueRegisters* queue = core_.writable_queue_registers(queue_select_);
  if (queue == nullptr) return;
  switch (offset) {
    case kQueueSize:
      queue->size = static_cast<u16>(std::min<u32>(value, 0xffff));
      break;
    case kQueueDescriptorsLow:
      set_low(queue->descriptors, value);
      break;
    case kQueueDescriptorsHigh:
      set_high(queue->descriptors, value);
      break;
    case kQueueDriverLow:
      set_low(queue->driver, value);
      break;
    case kQueueDriverHigh:
      set_high(queue->driver, value);
      break;
    case kQueueDeviceLow:
      set_low(queue->device, value);
      break;
    case kQueueDeviceHigh:
      set_high(queue->device, value);
      break;
    default:
      break;
  }
}

}  // namespace doppel
