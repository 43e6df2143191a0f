// PitChannel: one counter of the 8254 interval timer.
#pragma once

#include "base/types.h"
#include "state/state_visitor.h"

namespace doppel {

// A counter of an Intel 8254. Owned by Pit, which passes in the time: `now` is always in ticks of the 1193182
// Hz input clock. Nothing counts: output and count follow from the tick at which the count was loaded.
class PitChannel {
 public:
  static constexpr u64 kNever = ~u64{0};

  // Not counting, OUT high: the 8254 leaves the state before the first control word open.
  void reset(bool has_gate);

  // Control words; bits as on port 43h.
  void write_control(u8 control);
  void latch_count(u64 now);
  void latch_status(u64 now);

  void write(u64 now, u8 value);
  u8 read(u64 now);

  bool gate() const { return gate_; }
  void set_gate(u64 now, bool is_high);

  // The OUT pin.
  bool output(u64 now);
  // The first tick after `now` at which OUT goes from low to high, or kNever. A low of a single tick counts
  // too.
  u64 next_rise(u64 now);

  void visit_state(StateVisitor& visitor, std::string_view name);

 private:
  enum class Access : u8 { kLatch = 0, kLow = 1, kHigh = 2, kLowThenHigh = 3 };

  // The counter's period or delay in ticks: 0 stands for the largest count.
  u32 ticks(u16 count) const;
  u64 period() const;
  bool is_periodic() const { return mode_ == 2 || mode_ == 3; }
  bool is_triggered() const { return mode_ == 1 || mode_ == 5; }
  bool is_running() const { return is_loaded_ && !is_paused_; }
  u64 elapsed(u64 now) const;
  void load(u64 start);
  void take_new_count(u64 now);
  void advance_cycle(u64 now);
  u16 current_count(u64 now);
  u16 encode(u64 count) const;
  u8 status(u64 now);

  u8 mode_ = 3;
  Access access_ = Access::kLowThenHigh;
  bool is_bcd_ = false;
  bool gate_ = true;

  u16 reload_ = 0;              // the count register, as the guest wrote it
  u16 counting_ = 0;            // what the counting element was last loaded with
  bool is_loaded_ = false;      // it has been loaded since the control word
  bool has_new_count_ = false;  // reload_ waits for the end of the cycle or a trigger ("null count")
  bool is_paused_ = false;
  u64 start_ = 0;           // tick of the load
  u64 paused_elapsed_ = 0;  // ticks counted when the gate went low

  bool is_write_high_next_ = false;
  bool is_read_high_next_ = false;
  u8 written_low_ = 0;
  u8 latched_bytes_ = 0;  // bytes of latched_count_ not read yet
  u16 latched_count_ = 0;
  bool has_latched_status_ = false;
  u8 latched_status_ = 0;
};

}  // namespace doppel
