// HpetComparator: one timer of the HPET, counted in ticks of the main counter.
#pragma once

#include <optional>

#include "base/types.h"
#include "state/state_visitor.h"

namespace doppel {

// IA-PC HPET 1.0a 2.3.8 to 2.3.10: configuration, comparator and message registers of one timer. Knows no
// time and no lines: the Hpet that owns it passes the main counter's value in. Called with the device lock
// held.
class HpetComparator {
 public:
  // Matches closer together than this (10 microseconds) are merged, so that a guest cannot make the machine
  // do nothing but fire timers.
  static constexpr u64 kMinSpacing = 1000;
  // The I/O APIC inputs that a timer may be routed to, one bit each: that of the coprocessor in old PCs.
  static constexpr unsigned kInput = 13;
  static constexpr u32 kRoutes = 1 << kInput;

  void reset();

  u64 config() const;
  void write_config(u64 value);
  u64 comparator() const { return comparator_; }
  // In periodic mode the value is the period, and the comparator too if the guest asked for that.
  void write_comparator(u64 value);
  u64 message() const { return message_; }
  void write_message(u64 value) { message_ = value; }

  bool is_level() const;
  bool is_interrupt_enabled() const;
  bool is_message() const;  // interrupts are written, not wired
  unsigned route() const;   // an I/O APIC input; 0 until the guest chose one

  // Ticks from `counter` to the next match; nothing when nobody would notice it. A match right now counts
  // only if `includes_now`.
  std::optional<u64> distance(u64 counter, bool includes_now) const;
  // A match happened, at or before `counter`: a periodic comparator moves on.
  void advance(u64 counter);

  void visit_state(StateVisitor& visitor, std::string_view name);

 private:
  bool is_periodic() const;
  u64 mask() const;

  u32 config_ = 0;
  u64 comparator_ = ~u64{0};
  u64 period_ = 0;
  u64 message_ = 0;  // value in the low half, address in the high half
};

}  // namespace doppel
