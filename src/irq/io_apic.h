// IoApic: the 24-pin I/O APIC that turns interrupt lines into messages.
#pragma once

#include <array>

#include "bus/bus_device.h"
#include "irq/interrupt_message.h"
#include "state/state_visitor.h"

namespace doppel {

class ApicBus;

// An Intel 82093AA with the EOI register of its successors (version 20h). Owned by the machine, mapped at
// 0xfec00000; devices drive its pins through pin(). Pins are "asserted or not": the polarity bit is stored,
// the wiring is taken to match it. Called with the device lock held.
class IoApic final : public Component, public BusDevice {
 public:
  static constexpr unsigned kPinCount = 24;

  explicit IoApic(ApicBus& bus);

  InterruptLine& pin(unsigned index);
  // From a local APIC or the EOI register: level entries with this vector may fire again.
  void end_of_interrupt(u8 vector);

  std::string_view name() const override { return "ioapic"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;
  void add_metrics(MetricList& list) const override;
  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

 private:
  struct Pin final : InterruptLine {
    void set_level(bool is_high) override { owner->set_pin(index, is_high); }
    IoApic* owner = nullptr;
    unsigned index = 0;
  };

  void set_pin(unsigned index, bool is_asserted);
  void send_level(unsigned index);
  bool send(unsigned index);
  u32 read_selected() const;
  void write_selected(u32 value);
  void write_entry(unsigned index, bool is_high_half, u32 value);

  ApicBus& bus_;
  std::array<Pin, kPinCount> pins_;
  u8 select_ = 0;
  u8 id_ = 0;
  std::array<u64, kPinCount> entries_ = {};
  u32 asserted_ = 0;  // one bit a pin
  std::array<u64, kPinCount> sent_ = {};
};

}  // namespace doppel
