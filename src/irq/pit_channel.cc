// 8254 counter modes as functions of elapsed ticks. Intel 8254 data sheet, "Mode Definitions".
#include "irq/pit_channel.h"

#include <algorithm>

namespace doppel {
namespace {

// Ticks in a state file are bounded (30,000 years) so that sums cannot overflow.
constexpr u64 kMaxTick = u64{1} << 60;

}  // namespace

void PitChannel::reset(bool has_gate) {
  *this = PitChannel();
  gate_ = has_gate;
  is_paused_ = !has_gate;
}

u32 PitChannel::ticks(u16 count) const {
  if (!is_bcd_) return count == 0 ? 0x10000 : count;
  const u32 value =
      (count >> 12) * 1000u + ((count >> 8) & 15) * 100u + ((count >> 4) & 15) * 10u + (count & 15);
  return value == 0 ? 10000 : value;
}

// A count of 1 is illegal in the periodic modes; it is taken for 2.
u64 PitChannel::period() const { return std::max(ticks(counting_), 2u); }

u16 PitChannel::encode(u64 count) const {
  if (!is_bcd_) return static_cast<u16>(count);
  const u64 value = count % 10000;
  return static_cast<u16>((value / 1000 << 12) | (value / 100 % 10 << 8) | (value / 10 % 10 << 4) |
                          value % 10);
}

u64 PitChannel::elapsed(u64 now) const {
  if (is_paused_) return paused_elapsed_;
  return now > start_ ? now - start_ : 0;
}

// The counting element takes the count register over at tick `start`.
void PitChannel::load(u64 start) {
  counting_ = reload_;
  start_ = start;
  paused_elapsed_ = 0;
  is_loaded_ = true;
  has_new_count_ = false;
}

// Moves the start to the cycle `now` is in. Periodic modes take a new count over at the end of a cycle.
void PitChannel::advance_cycle(u64 now) {
  if (!is_periodic() || !is_running()) return;
  const u64 cycles = elapsed(now) / period();
  if (cycles == 0) return;
  if (has_new_count_) {
    load(start_ + period());
  } else {
    start_ += cycles * period();
  }
}

void PitChannel::write_control(u8 control) {
  const u8 mode = (control >> 1) & 7;
  mode_ = mode > 5 ? mode & 3 : mode;  // the top bit is ignored for modes 2 and 3
  access_ = static_cast<Access>((control >> 4) & 3);
  is_bcd_ = (control & 1) != 0;
  is_loaded_ = false;
  has_new_count_ = true;
  is_paused_ = !gate_ && !is_triggered();
  paused_elapsed_ = 0;
  is_write_high_next_ = is_read_high_next_ = false;
  latched_bytes_ = 0;
  has_latched_status_ = false;
}

void PitChannel::write(u64 now, u8 value) {
  if (access_ == Access::kLow) {
    reload_ = value;
  } else if (access_ == Access::kHigh) {
    reload_ = static_cast<u16>(value << 8);
  } else if (!is_write_high_next_) {
    written_low_ = value;
    is_write_high_next_ = true;
    // Mode 0: the first byte stops the count and OUT goes low.
    if (mode_ == 0) is_loaded_ = false;
    return;
  } else {
    reload_ = static_cast<u16>((value << 8) | written_low_);
    is_write_high_next_ = false;
  }
  take_new_count(now);
}

void PitChannel::take_new_count(u64 now) {
  advance_cycle(now);
  has_new_count_ = true;
  if (is_triggered()) return;               // at the next trigger
  if (is_periodic() && is_loaded_) return;  // at the end of the cycle
  load(now + 1);                            // on the next clock
}

void PitChannel::set_gate(u64 now, bool is_high) {
  if (gate_ == is_high) return;
  advance_cycle(now);
  const u64 counted = elapsed(now);
  gate_ = is_high;
  if (is_triggered()) {
    if (is_high) load(now + 1);
    return;
  }
  if (!is_high) {
    paused_elapsed_ = counted;
    is_paused_ = true;
    return;
  }
  is_paused_ = false;
  if (!is_loaded_) return;
  if (is_periodic()) {
    load(now + 1);  // a rising gate starts the cycle again
  } else {
    start_ = now - std::min(now, paused_elapsed_);
  }
}

bool PitChannel::output(u64 now) {
  advance_cycle(now);
  if (!is_loaded_) return mode_ != 0;
  const u64 count = ticks(counting_);
  const u64 counted = elapsed(now);
  switch (mode_) {
    case 0:
      return counted >= count;
    case 1:
      return now < start_ || counted >= count;
    case 2:
      return is_paused_ || counted % period() != period() - 1;
    case 3:
      return is_paused_ || counted % period() < (period() + 1) / 2;
    default:
      return counted != count;  // modes 4 and 5: a strobe of one tick
  }
}

u64 PitChannel::next_rise(u64 now) {
  advance_cycle(now);
  if (!is_running()) return kNever;
  if (is_periodic()) return start_ + (elapsed(now) / period() + 1) * period();
  const u64 rise = start_ + ticks(counting_) + (mode_ >= 4 ? 1 : 0);
  return rise > now ? rise : kNever;
}

u16 PitChannel::current_count(u64 now) {
  advance_cycle(now);
  if (!is_loaded_) return reload_;
  const u64 count = ticks(counting_);
  const u64 counted = elapsed(now);
  if (mode_ == 2) return encode(period() - counted % period());
  if (mode_ != 3) {
    const u64 modulus = is_bcd_ ? 10000 : 0x10000;
    return encode(count + modulus - counted % modulus);  // these modes count on through zero
  }
  // Mode 3 counts down by two, twice a cycle; an odd count starts from the even number below.
  const u64 high_part = (period() + 1) / 2;
  const u64 position = counted % period();
  return encode((period() & ~u64{1}) - 2 * (position < high_part ? position : position - high_part));
}

void PitChannel::latch_count(u64 now) {
  if (latched_bytes_ != 0) return;  // a latch holds until it is read
  latched_count_ = current_count(now);
  latched_bytes_ = access_ == Access::kLowThenHigh ? 2 : 1;
}

void PitChannel::latch_status(u64 now) {
  if (has_latched_status_) return;
  latched_status_ = status(now);
  has_latched_status_ = true;
}

u8 PitChannel::status(u64 now) {
  const bool is_high = output(now);
  const bool is_null = has_new_count_ || (is_running() && now < start_);
  return static_cast<u8>((is_high ? 0x80 : 0) | (is_null ? 0x40 : 0) | (static_cast<unsigned>(access_) << 4) |
                         (mode_ << 1) | (is_bcd_ ? 1 : 0));
}

u8 PitChannel::read(u64 now) {
  if (has_latched_status_) {
    has_latched_status_ = false;
    return latched_status_;
  }
  u16 count = latched_count_;
  if (latched_bytes_ != 0) {
    --latched_bytes_;
  } else {
    count = current_count(now);
  }
  if (access_ == Access::kLow) return static_cast<u8>(count);
  if (access_ == Access::kHigh) return static_cast<u8>(count >> 8);
  is_read_high_next_ = !is_read_high_next_;
  return static_cast<u8>(is_read_high_next_ ? count : count >> 8);
}

void PitChannel::visit_state(StateVisitor& visitor, std::string_view name) {
  visitor.begin(name);
  visitor.field("mode", mode_);
  visitor.field("access", access_);
  visitor.field("is_bcd", is_bcd_);
  visitor.field("gate", gate_);
  visitor.field("reload", reload_);
  visitor.field("counting", counting_);
  visitor.field("is_loaded", is_loaded_);
  visitor.field("has_new_count", has_new_count_);
  visitor.field("is_paused", is_paused_);
  visitor.field("start", start_);
  visitor.field("paused_elapsed", paused_elapsed_);
  visitor.field("is_write_high_next", is_write_high_next_);
  visitor.field("is_read_high_next", is_read_high_next_);
  visitor.field("written_low", written_low_);
  visitor.field("latched_bytes", latched_bytes_);
  visitor.field("latched_count", latched_count_);
  visitor.field("has_latched_status", has_latched_status_);
  visitor.field("latched_status", latched_status_);
  visitor.end();
  if (!visitor.is_loading()) return;
  if (mode_ > 5 || access_ > Access::kLowThenHigh || latched_bytes_ > 2 || start_ > kMaxTick ||
      paused_elapsed_ > kMaxTick) {
    visitor.reject("impossible 8254 counter");
    reset(gate_);
  }
}

}  // namespace doppel
