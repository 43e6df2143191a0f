// Routing of a vCPU's accesses.
#include "machine/vcpu_platform.h"

#include "x86/msr.h"

namespace doppel {

VcpuPlatform::VcpuPlatform(u32 id, MachineBuses& buses, GuestMemory& memory, TimerQueue& timers,
                           ApicBus& apic_bus)
    : buses_(buses),
      inputs_(timers.inputs()),
      lapic_(id, apic_bus, timers, *this),
      paravirt_(memory, timers.inputs(), apic_bus, lapic_) {}

bool VcpuPlatform::is_apic_page(GuestPhys address) const {
  const bool is_xapic = lapic_.is_enabled() && !lapic_.is_x2apic();
  return is_xapic && address.page_base().value() == (lapic_.apic_base() & ~kPageOffsetMask);
}

void VcpuPlatform::read_mmio(GuestPhys address, std::span<u8> data) {
  const std::lock_guard lock(buses_.device_lock);
  if (is_apic_page(address))
    lapic_.read(address.page_offset(), data);
  else
    buses_.memory.read(address.value(), data);
  if (after_access_) after_access_();
}

void VcpuPlatform::write_mmio(GuestPhys address, std::span<const u8> data) {
  const std::lock_guard lock(buses_.device_lock);
  if (is_apic_page(address))
    lapic_.write(address.page_offset(), data);
  else
    buses_.memory.write(address.value(), data);
  if (after_access_) after_access_();
}

u32 VcpuPlatform::read_port(u16 port, unsigned size) {
  const std::lock_guard lock(buses_.device_lock);
  u8 data[4] = {};
  buses_.ports.read(port, {data, size});
  if (after_access_) after_access_();
  return static_cast<u32>(load_le({data, size}));
}

void VcpuPlatform::write_port(u16 port, unsigned size, u32 value) {
  const std::lock_guard lock(buses_.device_lock);
  u8 data[4] = {};
  store_le({data, size}, value);
  buses_.ports.write(port, {data, size});
  if (after_access_) after_access_();
}

bool VcpuPlatform::has_interrupt() {
  const std::lock_guard lock(buses_.device_lock);
  paravirt_.before_interrupt();
  return lapic_.has_interrupt();
}

std::optional<u8> VcpuPlatform::acknowledge_interrupt() {
  const std::lock_guard lock(buses_.device_lock);
  const std::optional<u8> vector = lapic_.acknowledge();
  if (vector) paravirt_.after_acknowledge();
  return vector;
}

u8 VcpuPlatform::task_priority() {
  const std::lock_guard lock(buses_.device_lock);
  return lapic_.task_priority();
}

void VcpuPlatform::set_task_priority(u8 priority) {
  const std::lock_guard lock(buses_.device_lock);
  lapic_.set_task_priority(priority);
}

std::optional<u64> VcpuPlatform::read_msr(u32 index) {
  const std::lock_guard lock(buses_.device_lock);
  if (const std::optional<u64> value = paravirt_.read_msr(index)) return value;
  return lapic_.read_msr(index);
}

bool VcpuPlatform::write_msr(u32 index, u64 value) {
  const std::lock_guard lock(buses_.device_lock);
  const std::optional<bool> answer = paravirt_.write_msr(index, value, tsc_offset_);
  const bool is_accepted = answer ? *answer : lapic_.write_msr(index, value);
  if (after_access_) after_access_();
  return is_accepted;
}

void VcpuPlatform::tsc_offset_changed(u64 tsc_offset) {
  const std::lock_guard lock(buses_.device_lock);
  tsc_offset_ = tsc_offset;
  lapic_.tsc_changed();
}

u64 VcpuPlatform::hypercall(u64 number, std::span<const u64, 4> arguments) {
  const std::lock_guard lock(buses_.device_lock);
  return paravirt_.hypercall(number, arguments);
}

u64 VcpuPlatform::tsc() { return inputs_.tsc(); }

u64 VcpuPlatform::entropy() {
  u64 value;
  inputs_.entropy({reinterpret_cast<u8*>(&value), sizeof(value)});
  return value;
}

void VcpuPlatform::interrupt_changed() {
  if (vcpu_ != nullptr) vcpu_->notify_interrupt();
}

void VcpuPlatform::receive_nmi() {
  if (vcpu_ != nullptr) vcpu_->notify_nmi();
}

}  // namespace doppel
