// PicPair: the two cascaded 8259A interrupt controllers of a PC.
#pragma once

#include <array>
#include <optional>

#include "bus/address_map.h"
#include "irq/byte_ports.h"
#include "irq/i8259.h"
#include "irq/lapic.h"

namespace doppel {

// Master and slave 8259A with the chipset's edge/level registers. Owned by the machine; ISA devices drive
// line(n), `output` is LINT0 of the boot CPU's local APIC, which comes back with acknowledge(). Called with
// the device lock held.
class PicPair final : public Component, public ExternalInterruptSource {
 public:
  static constexpr unsigned kLineCount = 16;

  explicit PicPair(InterruptLine& output);

  // Lines 0..15. Line 2 is the cascade: nothing can be connected to it.
  InterruptLine& line(unsigned index);

  // Maps 0x20, 0xa0 and 0x4d0, two ports each.
  Result<void> map(AddressMap& ports);
  BusDevice& master_ports() { return master_ports_; }
  BusDevice& slave_ports() { return slave_ports_; }
  BusDevice& elcr_ports() { return elcr_ports_; }

  std::optional<u8> acknowledge() override;

  std::string_view name() const override { return "pic"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

 private:
  struct Line final : InterruptLine {
    void set_level(bool is_high) override { owner->set_line(index, is_high); }
    PicPair* owner = nullptr;
    unsigned index = 0;
  };

  struct ChipPorts final : BytePorts {
    ChipPorts(PicPair& pair, I8259& owned_chip) : owner(pair), chip(owned_chip) {}
    u8 read_byte(u64 offset) override;
    void write_byte(u64 offset, u8 value) override;
    PicPair& owner;
    I8259& chip;
  };

  struct ElcrPorts final : BytePorts {
    explicit ElcrPorts(PicPair& pair) : owner(pair) {}
    u8 read_byte(u64 offset) override;
    void write_byte(u64 offset, u8 value) override;
    PicPair& owner;
  };

  void set_line(unsigned index, bool is_high);
  void update();

  InterruptLine& output_;
  I8259 master_;
  I8259 slave_;
  std::array<Line, kLineCount> lines_;
  ChipPorts master_ports_;
  ChipPorts slave_ports_;
  ElcrPorts elcr_ports_;
};

}  // namespace doppel
