// LocalApic: the interrupt controller inside each CPU, in xAPIC and x2APIC mode.
#pragma once

#include <array>
#include <optional>

#include "bus/bus_device.h"
#include "irq/apic_registers.h"
#include "irq/interrupt_message.h"
#include "irq/lapic_timer.h"
#include "irq/vector_set.h"
#include "state/state_visitor.h"

namespace doppel {

class ApicBus;

// Who supplies the vector of an ExtINT: the 8259 pair.
class ExternalInterruptSource {
 public:
  virtual ~ExternalInterruptSource() = default;
  // The INTA cycle. Nothing only when there is no controller to answer.
  virtual std::optional<u8> acknowledge() = 0;
};

// The local APIC of one CPU (SDM 3A chapter 10). Owned by the machine, one per vCPU; as a BusDevice it is the
// 4 KiB page of its own CPU, so the machine routes each vCPU's accesses at apic_base() to its own APIC. The
// vCPU's thread calls the page, the MSRs and acknowledge(), other parts of the machine accept(): all with the
// device lock held. LINT levels are "asserted or not": the polarity bits are stored, the wiring is taken to
// match them.
class LocalApic final : public Component, public BusDevice {
 public:
  LocalApic(u32 id, ApicBus& bus, TimerQueue& timers, ApicCpu& cpu);

  u32 id() const { return id_; }
  void set_external_source(ExternalInterruptSource* source) { external_source_ = source; }
  // What firmware leaves on the boot CPU: enabled, LINT0 as ExtINT and LINT1 as NMI. SDM 3A 10.5.1, MP
  // spec 3.6.2.
  void configure_virtual_wire();

  // Component
  std::string_view name() const override { return "lapic"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;
  void add_metrics(MetricList& list) const override;

  // The xAPIC page. Only aligned 32-bit accesses reach registers; all ones when the page is not decoded.
  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

  // IA32_APIC_BASE, IA32_TSC_DEADLINE and 0x800..0x8ff. Nothing / false means #GP(0).
  std::optional<u64> read_msr(u32 index);
  bool write_msr(u32 index, u64 value);

  // The guest may have moved the page with it; bits as in x86/msr.h.
  u64 apic_base() const { return apic_base_; }
  bool is_enabled() const;  // globally, by IA32_APIC_BASE
  bool is_x2apic() const;
  bool is_software_enabled() const { return is_enabled() && (spurious_ & kSpuriousSoftwareEnable) != 0; }

  // Is anything waiting for delivery, whatever its priority?
  bool has_request() const { return has_external() || !requested_.is_empty(); }
  // An interrupt above the processor priority, or an ExtINT, which no priority holds back.
  bool has_interrupt() const;
  // Takes the interrupt has_interrupt() speaks of.
  std::optional<u8> acknowledge();
  // The vector that acknowledge() gave last was not delivered: it stays in service and is given again, before
  // everything else.
  void return_acknowledged(u8 vector);
  void eoi();
  // An EOI now would have no effect but to clear the one in-service bit: nothing else is requested or in
  // service and no I/O APIC waits for it. This is the condition for offering KVM's paravirtual EOI (kernel
  // msr.rst).
  bool can_skip_eoi() const;

  // CR8: the upper half of the task-priority register, 0..15.
  u8 task_priority() const { return task_priority_ >> 4; }
  void set_task_priority(u8 cr8);
  u8 processor_priority() const;

  // Is this APIC among the receivers of `message`? SDM 3A 10.6.2.
  bool matches(const InterruptMessage& message) const;
  // Takes a message that is already known to match. False when the APIC refuses it.
  bool accept(const InterruptMessage& message);

  // The local interrupt pins 0 and 1; with the APIC disabled they are INTR and NMI.
  void set_lint(unsigned index, bool is_asserted);
  InterruptLine& lint(unsigned index);

  // The guest's TSC was written: a pending TSC deadline moves.
  void tsc_changed() { timer_.tsc_changed(); }

 private:
  struct LintLine final : InterruptLine {
    void set_level(bool is_high) override { apic->set_lint(index, is_high); }
    LocalApic* apic = nullptr;
    unsigned index = 0;
  };

  // lapic.cc
  void reset_registers();
  bool accept_vector(u8 vector, bool is_level);
  void deliver_lint(unsigned index, bool is_rising);
  void deliver_lvt(LvtIndex index);
  bool has_external() const;
  void raise_error(u32 error_bits);
  bool matches_logical(u32 destination) const;

  // lapic_registers.cc
  std::optional<u32> read_register(u32 offset);
  bool write_register(u32 offset, u32 value);
  void write_spurious(u32 value);
  void write_lvt(LvtIndex index, u32 value);
  void write_command(u64 value);
  void send_self(u8 vector);

  // lapic_msr.cc
  bool write_base(u64 value);
  std::optional<u64> read_x2apic(u32 offset);
  bool write_x2apic(u32 offset, u64 value);

  const u32 id_;
  ApicBus& bus_;
  ApicCpu& cpu_;
  ExternalInterruptSource* external_source_ = nullptr;
  std::array<LintLine, 2> lint_lines_;
  LapicTimer timer_;

  u64 apic_base_ = 0;
  u8 task_priority_ = 0;
  u32 logical_destination_ = 0;
  u32 destination_format_ = 0xffffffff;
  u32 spurious_ = 0xff;
  VectorSet in_service_;
  VectorSet trigger_mode_;
  VectorSet requested_;
  u32 pending_errors_ = 0;  // become visible in error_status_ when the guest writes the ESR
  u32 error_status_ = 0;
  u64 command_ = 0;  // ICR in the x2APIC layout or, in xAPIC mode, with the destination in the top byte
  std::array<u32, kLvtCount> lvt_ = {};
  std::array<bool, 2> lint_asserted_ = {};
  bool has_external_message_ = false;  // an ExtINT that came over the bus
  bool has_returned_ = false;          // `returned_` was acknowledged and not delivered
  u8 returned_ = 0;
  std::array<u64, kLvtCount> local_events_ = {};  // for statistics, as the next one
  u64 sent_messages_ = 0;
};

}  // namespace doppel
