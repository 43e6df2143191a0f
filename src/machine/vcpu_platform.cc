// Routing of a vCPU's accesses.
#include "machine/vcpu_platform.h"

#include <thread>
#include <utility>

#include "x86/msr.h"

namespace doppel {

VcpuPlatform::VcpuPlatform(u32 id, const World& world)
    : id_(id),
      buses_(world.buses),
      cpuid_(world.cpuid),
      events_(world.events),
      is_crowded_(world.is_crowded),
      inputs_(world.timers.inputs()),
      accounts_(inputs_),
      lapic_(id, world.apic_bus, world.timers, *this),
      paravirt_(world.memory, inputs_, world.apic_bus, lapic_) {}

bool VcpuPlatform::is_apic_page(GuestPhys address) const {
  const bool is_xapic = lapic_.is_enabled() && !lapic_.is_x2apic();
  return is_xapic && address.page_base().value() == (lapic_.apic_base() & ~kPageOffsetMask);
}

void VcpuPlatform::read_mmio(GuestPhys address, std::span<u8> data) {
  ExitAccounts::Meter meter(accounts_, ExitKind::kMmioRead);
  const std::lock_guard lock(buses_.device_lock);
  const bool is_apic = is_apic_page(address);
  if (is_apic) {
    meter.change(ExitKind::kApicRead);
    lapic_.read(address.page_offset(), data);
  } else {
    buses_.memory.read(address.value(), data);
  }
  events_.after_access(id_);
  if (meter.is_timed() && !is_apic) buses_.memory.charge_read(address.value(), data.size(), meter.stop());
}

void VcpuPlatform::write_mmio(GuestPhys address, std::span<const u8> data) {
  ExitAccounts::Meter meter(accounts_, ExitKind::kMmioWrite);
  const std::lock_guard lock(buses_.device_lock);
  const bool is_apic = is_apic_page(address);
  if (is_apic) {
    meter.change(ExitKind::kApicWrite);
    lapic_.write(address.page_offset(), data);
  } else {
    buses_.memory.write(address.value(), data);
  }
  events_.after_access(id_);
  if (meter.is_timed() && !is_apic) buses_.memory.charge_write(address.value(), data.size(), meter.stop());
}

u32 VcpuPlatform::read_port(u16 port, unsigned size) {
  ExitAccounts::Meter meter(accounts_, ExitKind::kPortRead);
  const std::lock_guard lock(buses_.device_lock);
  u8 data[4] = {};
  buses_.ports.read(port, {data, size});
  events_.after_access(id_);
  if (meter.is_timed()) buses_.ports.charge_read(port, size, meter.stop());
  return static_cast<u32>(load_le({data, size}));
}

void VcpuPlatform::write_port(u16 port, unsigned size, u32 value) {
  ExitAccounts::Meter meter(accounts_, ExitKind::kPortWrite);
  const std::lock_guard lock(buses_.device_lock);
  u8 data[4] = {};
  store_le({data, size}, value);
  buses_.ports.write(port, {data, size});
  events_.after_access(id_);
  if (meter.is_timed()) buses_.ports.charge_write(port, size, meter.stop());
}

bool VcpuPlatform::has_interrupt() {
  const ExitAccounts::Meter meter(accounts_, ExitKind::kInterruptCheck);
  const std::lock_guard lock(buses_.device_lock);
  paravirt_.before_interrupt();
  return lapic_.has_interrupt();
}

std::optional<u8> VcpuPlatform::acknowledge_interrupt() {
  const ExitAccounts::Meter meter(accounts_, ExitKind::kInterruptTaken);
  const std::lock_guard lock(buses_.device_lock);
  const std::optional<u8> vector = lapic_.acknowledge();
  if (!vector) return vector;
  accounts_.add_interrupt(*vector);
  paravirt_.after_acknowledge();
  return vector;
}

void VcpuPlatform::return_interrupt(u8 vector) {
  const std::lock_guard lock(buses_.device_lock);
  lapic_.return_acknowledged(vector);
}

u8 VcpuPlatform::task_priority() {
  const ExitAccounts::Meter meter(accounts_, ExitKind::kTaskPriority);
  const std::lock_guard lock(buses_.device_lock);
  return lapic_.task_priority();
}

void VcpuPlatform::set_task_priority(u8 priority) {
  const ExitAccounts::Meter meter(accounts_, ExitKind::kTaskPriority);
  const std::lock_guard lock(buses_.device_lock);
  lapic_.set_task_priority(priority);
}

std::optional<u64> VcpuPlatform::read_msr(u32 index) {
  const ExitAccounts::Meter meter(accounts_, ExitKind::kMsrRead);
  const std::lock_guard lock(buses_.device_lock);
  if (const std::optional<u64> value = paravirt_.read_msr(index)) return value;
  return lapic_.read_msr(index);
}

bool VcpuPlatform::write_msr(u32 index, u64 value) {
  const ExitAccounts::Meter meter(accounts_, ExitKind::kMsrWrite);
  const std::lock_guard lock(buses_.device_lock);
  const std::optional<bool> answer = paravirt_.write_msr(index, value, tsc_offset_);
  const bool is_accepted = answer ? *answer : lapic_.write_msr(index, value);
  events_.after_access(id_);
  return is_accepted;
}

void VcpuPlatform::tsc_offset_changed(u64 tsc_offset) {
  const std::lock_guard lock(buses_.device_lock);
  set_tsc_offset(tsc_offset);
}

void VcpuPlatform::set_tsc_offset(u64 tsc_offset) {
  tsc_offset_ = tsc_offset;
  lapic_.tsc_changed();
}

u64 VcpuPlatform::hypercall(u64 number, std::span<const u64, 4> arguments) {
  // The vCPU the guest waits for may need this host CPU.
  if (number == KvmParavirt::kHypercallSchedYield) std::this_thread::yield();
  const ExitAccounts::Meter meter(accounts_, ExitKind::kHypercall);
  const std::lock_guard lock(buses_.device_lock);
  // hypercalls.rst KVM_HC_KICK_CPU: flags, APIC id.
  if (number == KvmParavirt::kHypercallKick && arguments[1] <= 0xff) {
    events_.kick_halted(static_cast<u32>(arguments[1]));
  }
  return paravirt_.hypercall(number, arguments);
}

u64 VcpuPlatform::tsc() { return inputs_.tsc(); }

u64 VcpuPlatform::entropy() {
  u64 value;
  inputs_.entropy({reinterpret_cast<u8*>(&value), sizeof(value)});
  return value;
}

void VcpuPlatform::relax() {
  const ExitAccounts::Meter meter(accounts_, ExitKind::kPause);
  if (is_crowded_) std::this_thread::yield();
}

void VcpuPlatform::interrupt_changed() {
  if (vcpu_ == nullptr) return;
  vcpu_->notify_interrupt();
  events_.wake(id_);
}

void VcpuPlatform::receive_nmi() {
  if (vcpu_ == nullptr) return;
  vcpu_->notify_nmi();
  events_.wake(id_);
}

void VcpuPlatform::receive_init() {
  has_init_ = true;
  start_up_.reset();
  vcpu_->kick();
  events_.wake(id_);
}

void VcpuPlatform::receive_start_up(u8 vector) {
  // Only the first one after INIT counts. SDM 3A 8.4.4.1 has BIOSes send two.
  if (!start_up_) start_up_ = vector;
  vcpu_->kick();
  events_.wake(id_);
}

void VcpuPlatform::apply_events() {
  if (!has_init_ && !start_up_) return;
  CpuState state;
  vcpu_->save(state);
  if (std::exchange(has_init_, false)) {
    // SDM 3A 8.4.2: INIT restarts the boot CPU; the others wait for a start-up message.
    const bool is_boot_cpu = (lapic_.apic_base() & x86::kApicBaseBsp) != 0;
    reset_cpu_state(state, cpuid_.query(1, 0, {}).eax, true);
    state.activity = is_boot_cpu ? Activity::kRunning : Activity::kWaitForSipi;
    paravirt_.reset();
  }
  const std::optional<u8> start_up = std::exchange(start_up_, std::nullopt);
  if (start_up && state.activity == Activity::kWaitForSipi) {
    // SDM 3A 8.4.3: execution starts at 000VV000H.
    state.activity = Activity::kRunning;
    state.segment(x86::kCs) = {.selector = static_cast<u16>(*start_up << 8),
                               .attributes = 0x9b,
                               .limit = 0xffff,
                               .base = u64{*start_up} << 12};
    state.rip = 0;
  }
  vcpu_->load(state);
}

}  // namespace doppel
