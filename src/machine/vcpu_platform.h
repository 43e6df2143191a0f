// VcpuPlatform: connects one vCPU to the machine's buses, its local APIC and the paravirtual interface.
#pragma once

#include <mutex>

#include "bus/address_map.h"
#include "cpu/platform.h"
#include "cpu/vcpu.h"
#include "irq/apic_bus.h"
#include "irq/lapic.h"
#include "machine/kvm_paravirt.h"

namespace doppel {

// What all vCPUs of a machine share. `device_lock` guards the buses, every device and the timers.
struct MachineBuses {
  std::mutex device_lock;
  AddressMap ports;
  AddressMap memory;
};

// Implements what the engine asks (CpuPlatform, on the vCPU's thread, takes the device lock) and what the
// local APIC reports (ApicCpu, called with the device lock held).
class VcpuPlatform final : public CpuPlatform, public ApicCpu {
 public:
  VcpuPlatform(u32 id, MachineBuses& buses, GuestMemory& memory, TimerQueue& timers, ApicBus& apic_bus);

  // The engine behind this vCPU; set once, before anything runs.
  void set_vcpu(Vcpu* vcpu) { vcpu_ = vcpu; }
  LocalApic& lapic() { return lapic_; }
  KvmParavirt& paravirt() { return paravirt_; }
  // Called after each device access: may the machine want the vCPU to stop?
  void set_after_access(std::function<void()> callback) { after_access_ = std::move(callback); }

  // CpuPlatform
  void read_mmio(GuestPhys address, std::span<u8> data) override;
  void write_mmio(GuestPhys address, std::span<const u8> data) override;
  u32 read_port(u16 port, unsigned size) override;
  void write_port(u16 port, unsigned size, u32 value) override;
  bool has_interrupt() override;
  std::optional<u8> acknowledge_interrupt() override;
  u8 task_priority() override;
  void set_task_priority(u8 priority) override;
  std::optional<u64> read_msr(u32 index) override;
  bool write_msr(u32 index, u64 value) override;
  void tsc_offset_changed(u64 tsc_offset) override;
  u64 hypercall(u64 number, std::span<const u64, 4> arguments) override;
  u64 tsc() override;
  u64 entropy() override;

  // ApicCpu
  void interrupt_changed() override;
  void receive_nmi() override;
  void receive_init() override {}
  void receive_start_up(u8) override {}
  u64 guest_tsc() override { return inputs_.tsc() + tsc_offset_; }

 private:
  bool is_apic_page(GuestPhys address) const;

  MachineBuses& buses_;
  Inputs& inputs_;
  LocalApic lapic_;
  KvmParavirt paravirt_;
  Vcpu* vcpu_ = nullptr;
  std::function<void()> after_access_;
  u64 tsc_offset_ = 0;  // the guest's own, as last written
};

}  // namespace doppel
