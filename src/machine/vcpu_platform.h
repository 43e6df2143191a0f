// VcpuPlatform: connects one vCPU to the machine's buses, its local APIC and the paravirtual interface.
#pragma once

#include <mutex>

#include "bus/address_map.h"
#include "cpu/interrupt_return.h"
#include "cpu/platform.h"
#include "cpu/vcpu.h"
#include "irq/apic_bus.h"
#include "irq/lapic.h"
#include "machine/exit_accounts.h"
#include "machine/kvm_paravirt.h"
#include "x86/cpuid.h"

namespace doppel {

// What all vCPUs of a machine share. `device_lock` guards the buses, every device and the timers.
struct MachineBuses {
  std::mutex device_lock;
  AddressMap ports;
  AddressMap memory;
};

// What a vCPU has to tell the machine. Implemented by the machine; called with the device lock held.
class VcpuEvents {
 public:
  virtual ~VcpuEvents() = default;
  // vCPU `id` made a device access: timers may have changed.
  virtual void after_access(u32 id) = 0;
  // Something arrived that may end vCPU `id`'s halt.
  virtual void wake(u32 id) = 0;
  // A guest asks that the vCPU with this APIC id leaves its halt, or the next one.
  virtual void kick_halted(u32 id) = 0;
};

// Implements what the engine asks (CpuPlatform, on the vCPU's thread, takes the device lock) and what the
// local APIC reports (ApicCpu, called with the device lock held).
class VcpuPlatform final : public CpuPlatform, public InterruptReturn, public ApicCpu {
 public:
  // The machine around a vCPU.
  struct World {
    MachineBuses& buses;
    GuestMemory& memory;
    TimerQueue& timers;
    ApicBus& apic_bus;
    const x86::CpuidTable& cpuid;
    VcpuEvents& events;
    bool is_crowded;  // more vCPUs than host CPUs: spinning ones make room
  };

  // `id` is the APIC id, too.
  VcpuPlatform(u32 id, const World& world);

  // The engine behind this vCPU; set before anything runs, and while nothing does.
  void set_vcpu(Vcpu* vcpu) { vcpu_ = vcpu; }
  u32 id() const { return id_; }
  LocalApic& lapic() { return lapic_; }
  ExitAccounts& accounts() { return accounts_; }
  KvmParavirt& paravirt() { return paravirt_; }

  // Does what INIT and start-up messages asked for. Where the engine may be loaded: on the vCPU's thread
  // between runs, or while the machine does not run; device lock held.
  void apply_events();
  // tsc_offset_changed() with the device lock held.
  void set_tsc_offset(u64 tsc_offset);

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
  void relax() override;
  u64 tsc() override;
  u64 entropy() override;

  // InterruptReturn
  void return_interrupt(u8 vector) override;

  // ApicCpu
  void interrupt_changed() override;
  void receive_nmi() override;
  void receive_init() override;
  void receive_start_up(u8 vector) override;
  u64 guest_tsc() override { return inputs_.tsc() + tsc_offset_; }

 private:
  bool is_apic_page(GuestPhys address) const;

  const u32 id_;
  MachineBuses& buses_;
  const x86::CpuidTable& cpuid_;
  VcpuEvents& events_;
  const bool is_crowded_;
  Inputs& inputs_;
  ExitAccounts accounts_;
  LocalApic lapic_;
  KvmParavirt paravirt_;
  Vcpu* vcpu_ = nullptr;
  bool has_init_ = false;  // received, not yet applied
  std::optional<u8> start_up_;
  u64 tsc_offset_ = 0;  // the guest's own, as last written
};

}  // namespace doppel
