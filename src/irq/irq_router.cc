// The fixed interrupt wiring of the machine.
#include "irq/irq_router.h"

#include "base/verify.h"

namespace doppel {
namespace {

constexpr unsigned kCascade = 2;
constexpr unsigned kTimerPin = 2;

}  // namespace

IrqRouter::IrqRouter(PicPair& pic, IoApic& io_apic) {
  for (unsigned i = 0; i < IoApic::kPinCount; ++i) {
    if (i == kCascade) continue;
    if (i < PicPair::kLineCount) lines_[i].pic_line = &pic.line(i);
    lines_[i].io_apic_pin = &io_apic.pin(i == 0 ? kTimerPin : i);
  }
}

InterruptLine& IrqRouter::isa(unsigned index) {
  VERIFY(index < IoApic::kPinCount && index != kCascade);
  return lines_[index];
}

void IrqRouter::Line::set_level(bool is_high) {
  if (pic_line != nullptr) pic_line->set_level(is_high);
  io_apic_pin->set_level(is_high);
}

}  // namespace doppel
