// 8259A command words, priorities and in-service handling. Names as in the Intel 8259A data sheet.
#include "irq/i8259.h"

#include "base/log.h"

namespace doppel {
namespace {

constexpr u8 line_bit(unsigned line) { return static_cast<u8>(1u << line); }

constexpr u8 kIcw1Marker = 0x10;
constexpr u8 kIcw1Single = 0x02;
constexpr u8 kIcw1NeedsIcw4 = 0x01;
constexpr u8 kIcw4AutoEoi = 0x02;
constexpr u8 kIcw4FullyNested = 0x10;
constexpr u8 kOcw3Marker = 0x08;

constexpr unsigned kSpuriousLine = 7;

}  // namespace

void I8259::reset() {
  masked_ = 0xff;
  inputs_ = requested_ = in_service_ = level_lines_ = vector_base_ = top_line_ = 0;
  step_ = Step::kReady;
  expects_icw3_ = expects_icw4_ = reads_in_service_ = is_polling_ = false;
  has_special_mask_ = is_fully_nested_ = has_auto_eoi_ = rotates_on_auto_eoi_ = false;
}

void I8259::set_line(unsigned line, bool is_high) {
  const u8 mask = line_bit(line);
  const bool was_high = (inputs_ & mask) != 0;
  inputs_ = static_cast<u8>(is_high ? inputs_ | mask : inputs_ & ~mask);
  if ((following() & mask) != 0) {
    requested_ = static_cast<u8>((requested_ & ~mask) | (inputs_ & mask));
  } else if (is_high && !was_high) {
    requested_ |= mask;
  }
}

void I8259::set_level_lines(u8 lines) {
  level_lines_ = lines;
  requested_ = static_cast<u8>((requested_ & ~following()) | (inputs_ & following()));
}

// The line of highest priority in `lines`, or kNoLine.
unsigned I8259::highest(u8 lines) const {
  for (unsigned i = 0; i < 8; ++i) {
    const unsigned line = (top_line_ + i) & 7;
    if ((lines & line_bit(line)) != 0) return line;
  }
  return kNoLine;
}

// The line that would be acknowledged now, or -1.
int I8259::pending_line() const {
  const unsigned request = highest(requested_ & ~masked_);
  if (request == kNoLine) return -1;
  u8 blocking = in_service_;
  // Special mask mode: masked lines in service do not hold back others.
  if (has_special_mask_) blocking &= ~masked_;
  // Special fully nested mode: a slave in service may interrupt again, as the slave has checked its
  // priorities.
  if (is_fully_nested_) blocking &= ~cascade_inputs_;
  const unsigned serviced = highest(blocking);
  if (serviced != kNoLine && priority_of(serviced) <= priority_of(request)) {
    return -1;
  }
  return static_cast<int>(request);
}

unsigned I8259::acknowledge() {
  const int line = pending_line();
  if (line < 0) return kSpuriousLine;
  const unsigned index = static_cast<unsigned>(line);
  const u8 mask = line_bit(index);
  if ((following() & mask) == 0) requested_ &= ~mask;
  if (!has_auto_eoi_) {
    in_service_ |= mask;
  } else if (rotates_on_auto_eoi_) {
    top_line_ = (index + 1) & 7;
  }
  return index;
}

u8 I8259::poll() {
  is_polling_ = false;
  const bool is_requested = has_request();
  const unsigned line = acknowledge();
  return static_cast<u8>(is_requested ? 0x80 | line : 0);
}

u8 I8259::read_command_port() {
  if (is_polling_) return poll();
  return reads_in_service_ ? in_service_ : requested_;
}

u8 I8259::read_data_port() { return is_polling_ ? poll() : masked_; }

void I8259::write_command_port(u8 value) {
  if ((value & kIcw1Marker) != 0) {
    begin_initialization(value);
  } else if ((value & kOcw3Marker) != 0) {
    write_ocw3(value);
  } else {
    write_ocw2(value);
  }
}

// ICW1 also clears the mask, forgets latched edges, gives line 7 the lowest priority and selects reading of
// the IRR.
void I8259::begin_initialization(u8 icw1) {
  requested_ = inputs_ & following();
  in_service_ = masked_ = top_line_ = 0;
  reads_in_service_ = is_polling_ = has_special_mask_ = false;
  // Without ICW4 all its functions are off.
  has_auto_eoi_ = is_fully_nested_ = rotates_on_auto_eoi_ = false;
  expects_icw3_ = (icw1 & kIcw1Single) == 0;
  expects_icw4_ = (icw1 & kIcw1NeedsIcw4) != 0;
  step_ = Step::kIcw2;
}

void I8259::write_data_port(u8 value) {
  const Step after_icw3 = expects_icw4_ ? Step::kIcw4 : Step::kReady;
  switch (step_) {
    case Step::kReady:
      masked_ = value;  // OCW1
      return;
    case Step::kIcw2:
      vector_base_ = value & 0xf8;
      step_ = expects_icw3_ ? Step::kIcw3 : after_icw3;
      return;
    case Step::kIcw3:  // the wiring is fixed
      step_ = after_icw3;
      return;
    case Step::kIcw4:
      has_auto_eoi_ = (value & kIcw4AutoEoi) != 0;
      is_fully_nested_ = (value & kIcw4FullyNested) != 0;
      step_ = Step::kReady;
      return;
  }
}

void I8259::end_of_interrupt(unsigned line, bool rotate) {
  if (line == kNoLine) return;
  in_service_ &= ~line_bit(line);
  if (rotate) top_line_ = (line + 1) & 7;
}

// Bits 7..5 are R, SL and EOI.
void I8259::write_ocw2(u8 value) {
  const unsigned line = value & 7;
  // In special mask mode a non-specific EOI leaves masked lines in service.
  const u8 eligible = has_special_mask_ ? in_service_ & ~masked_ : in_service_;
  switch (value >> 5) {
    case 0b001:
      return end_of_interrupt(highest(eligible), false);
    case 0b011:
      return end_of_interrupt(line, false);
    case 0b101:
      return end_of_interrupt(highest(eligible), true);
    case 0b111:
      return end_of_interrupt(line, true);
    case 0b100:
      rotates_on_auto_eoi_ = true;
      return;
    case 0b000:
      rotates_on_auto_eoi_ = false;
      return;
    case 0b110:
      top_line_ = (line + 1) & 7;
      return;
    default:
      return;  // 010: no operation
  }
}

void I8259::write_ocw3(u8 value) {
  is_polling_ = (value & 0x04) != 0;
  if ((value & 0x02) != 0) reads_in_service_ = (value & 0x01) != 0;
  if ((value & 0x40) != 0) has_special_mask_ = (value & 0x20) != 0;
}

void I8259::visit_state(StateVisitor& visitor, std::string_view name) {
  visitor.begin(name);
  visitor.field("inputs", inputs_);
  visitor.field("requested", requested_);
  visitor.field("in_service", in_service_);
  visitor.field("masked", masked_);
  visitor.field("level_lines", level_lines_);
  visitor.field("vector_base", vector_base_);
  visitor.field("top_line", top_line_);
  visitor.field("step", step_);
  visitor.field("expects_icw3", expects_icw3_);
  visitor.field("expects_icw4", expects_icw4_);
  visitor.field("reads_in_service", reads_in_service_);
  visitor.field("is_polling", is_polling_);
  visitor.field("has_special_mask", has_special_mask_);
  visitor.field("is_fully_nested", is_fully_nested_);
  visitor.field("has_auto_eoi", has_auto_eoi_);
  visitor.field("rotates_on_auto_eoi", rotates_on_auto_eoi_);
  visitor.end();
  if (visitor.is_loading() && (step_ > Step::kIcw4 || top_line_ > 7)) {
    visitor.reject("impossible 8259 state");
    reset();
  }
}

}  // namespace doppel
