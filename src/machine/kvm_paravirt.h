// KvmParavirt: the KVM paravirtual interface of one vCPU: clock, end-of-interrupt, hypercalls.
#pragma once

#include <optional>
#include <span>
#include <utility>

#include "base/inputs.h"
#include "irq/apic_bus.h"
#include "irq/lapic.h"
#include "memory/guest_memory.h"
#include "state/state_visitor.h"

namespace doppel {

// As documented for guests in the kernel's Documentation/virt/kvm/x86 (cpuid.rst, msr.rst, hypercalls.rst).
// Owned by the machine; called on the vCPU's thread with the device lock held.
class KvmParavirt final : public Component {
 public:
  KvmParavirt(GuestMemory& memory, Inputs& inputs, ApicBus& bus, LocalApic& lapic);

  // CPUID.40000001H:EAX for what is implemented here.
  static u32 features();

  std::optional<u64> read_msr(u32 index) const;
  // nullopt: not one of these MSRs; else whether the value was accepted. `tsc_offset`: guest TSC minus
  // Inputs::tsc().
  std::optional<bool> write_msr(u32 index, u64 value, u64 tsc_offset);
  u64 hypercall(u64 number, std::span<const u64, 4> arguments);

  static constexpr u64 kHypercallKick = 5;
  static constexpr u64 kHypercallSchedYield = 11;

  // KVM_HC_KICK_CPU was sent to this vCPU: it ends the halt, or else the next one.
  void kick() { is_kicked_ = true; }
  bool take_kick() { return std::exchange(is_kicked_, false); }

  // Around the delivery of an interrupt: lets the guest skip its next EOI, or notices that it did.
  void before_interrupt();
  void after_acknowledge();

  std::string_view name() const override { return "kvm-paravirt"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

 private:
  void write_steal_time(GuestPhys address);
  void write_wall_clock(GuestPhys address);
  void write_system_time(GuestPhys address, u64 tsc_offset);
  u64 send_ipi(std::span<const u64, 4> arguments);

  GuestMemory& memory_;
  Inputs& inputs_;
  ApicBus& bus_;
  LocalApic& lapic_;
  u64 wall_clock_ = 0;   // MSR_KVM_WALL_CLOCK_NEW
  u64 system_time_ = 0;  // MSR_KVM_SYSTEM_TIME_NEW
  u64 pv_eoi_ = 0;       // MSR_KVM_PV_EOI_EN
  u64 steal_time_ = 0;   // MSR_KVM_STEAL_TIME
  u64 poll_control_ = 1;
  u32 clock_version_ = 0;
  bool is_kicked_ = false;
  bool eoi_is_skippable_ = false;  // the guest was told that it need not write EOI
};

}  // namespace doppel
