// IrqRouter: where each interrupt line of the ISA numbering leads.
#pragma once

#include <array>

#include "irq/io_apic.h"
#include "irq/pic.h"

namespace doppel {

// Connects interrupt n to PIC line n (below 16) and I/O APIC pin n, except that the timer's interrupt 0 goes
// to pin 2, as the MADT's interrupt source override tells guests (ACPI 6.5 section 5.2.12.5). Both
// controllers hear every change; the guest masks the one it does not use. Owned by the machine; no state of
// its own. Called with the device lock held.
class IrqRouter {
 public:
  IrqRouter(PicPair& pic, IoApic& io_apic);

  // `index` is 0..23 but not 2, the cascade.
  InterruptLine& isa(unsigned index);

 private:
  struct Line final : InterruptLine {
    void set_level(bool is_high) override;
    InterruptLine* pic_line = nullptr;  // none above 15
    InterruptLine* io_apic_pin = nullptr;
  };

  std::array<Line, IoApic::kPinCount> lines_;
};

}  // namespace doppel
