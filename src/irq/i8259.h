// I8259: one programmable interrupt controller chip.
#pragma once

#include "base/types.h"
#include "state/state_visitor.h"

namespace doppel {

// An Intel 8259A. PicPair owns two, wires them and looks at has_request() after every call.
// Differences from the chip: 8085 mode and buffered mode are not modelled, level triggering is chosen per
// line by the chipset's ELCR instead of ICW1's LTIM, and an edge stays latched when its line falls before the
// acknowledge.
class I8259 {
 public:
  // `cascade_inputs`: lines fed by another chip's output, which follow it instead of latching edges.
  explicit I8259(u8 cascade_inputs) : cascade_inputs_(cascade_inputs) {}

  // Everything masked: the data sheet leaves the state before the first ICW1 open.
  void reset();
  void set_line(unsigned line, bool is_high);

  // The INT output.
  bool has_request() const { return pending_line() >= 0; }
  // INTA: the line that is now in service, or 7 without an in-service bit when the request is gone (8259A
  // "spurious").
  unsigned acknowledge();
  u8 vector(unsigned line) const { return static_cast<u8>(vector_base_ | line); }

  u8 read_command_port();  // A0 = 0
  u8 read_data_port();     // A0 = 1
  void write_command_port(u8 value);
  void write_data_port(u8 value);

  // Edge/level control: 1 is level.
  u8 level_lines() const { return level_lines_; }
  void set_level_lines(u8 lines);

  void visit_state(StateVisitor& visitor, std::string_view name);

 private:
  // What the next write to the data port is.
  enum class Step : u8 { kReady, kIcw2, kIcw3, kIcw4 };

  static constexpr unsigned kNoLine = 8;

  u8 following() const { return level_lines_ | cascade_inputs_; }
  unsigned priority_of(unsigned line) const { return (line - top_line_) & 7u; }
  unsigned highest(u8 lines) const;
  int pending_line() const;
  void begin_initialization(u8 icw1);
  void write_ocw2(u8 value);
  void write_ocw3(u8 value);
  void end_of_interrupt(unsigned line, bool rotate);
  u8 poll();

  const u8 cascade_inputs_;
  u8 inputs_ = 0;       // line levels
  u8 requested_ = 0;    // IRR
  u8 in_service_ = 0;   // ISR
  u8 masked_ = 0xff;    // IMR
  u8 level_lines_ = 0;  // ELCR
  u8 vector_base_ = 0;
  u8 top_line_ = 0;  // the line of highest priority
  Step step_ = Step::kReady;
  bool expects_icw3_ = false;
  bool expects_icw4_ = false;
  bool reads_in_service_ = false;
  bool is_polling_ = false;
  bool has_special_mask_ = false;
  bool is_fully_nested_ = false;  // ICW4 "special fully nested mode"
  bool has_auto_eoi_ = false;
  bool rotates_on_auto_eoi_ = false;
};

}  // namespace doppel
