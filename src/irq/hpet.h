// Hpet: the high precision event timer of a PC.
#pragma once

#include <array>

#include "base/timer_queue.h"
#include "bus/bus_device.h"
#include "bus/msi_sink.h"
#include "irq/hpet_comparator.h"
#include "state/state_visitor.h"

namespace doppel {

// Where the HPET's interrupts lead: the lines of the 8254 (ISA interrupt 0) and of the RTC (8), and the I/O
// APIC input HpetComparator::kInput.
struct HpetWiring {
  InterruptLine& isa0;
  InterruptLine& isa8;
  InterruptLine& input;
  MsiSink& messages;
};

// IA-PC HPET 1.0a: a 64-bit counter of 10 ns ticks and three comparators. The interrupts of the 8254 and of
// the RTC pass through here, because in legacy replacement mode (2.3.5) timers 0 and 1 take their place.
// Owned by the machine; called with the device lock held.
class Hpet final : public Component, public BusDevice {
 public:
  static constexpr unsigned kTimers = 3;
  static constexpr u64 kTickNanoseconds = 10;

  Hpet(TimerQueue& timers, const HpetWiring& wiring);

  // What the 8254 and the RTC drive instead of their lines.
  InterruptLine& pit_input() { return pit_input_; }
  InterruptLine& rtc_input() { return rtc_input_; }

  std::string_view name() const override { return "hpet"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;
  // Registers are 64 bits wide; any part of one may be read or written.
  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

 private:
  struct LegacyInput final : InterruptLine {
    LegacyInput(Hpet& hpet, InterruptLine& wire) : owner(hpet), line(wire) {}
    void set_level(bool is_level_high) override;
    Hpet& owner;
    InterruptLine& line;
    bool is_high = false;
  };

  bool is_running() const;
  bool replaces_legacy() const;
  u64 counter();
  u64 read_register(u64 offset);
  void write_register(u64 offset, u64 value);
  void write_timer_register(unsigned index, u64 offset, u64 value);
  void write_config(u64 value);
  void schedule(unsigned index, bool includes_now);
  void schedule_all();
  void run_due();
  void expire(unsigned index);
  InterruptLine* line_of(unsigned index);
  void update_lines();

  TimerQueue& timers_;
  HpetWiring wiring_;
  LegacyInput pit_input_;
  LegacyInput rtc_input_;
  std::array<HpetComparator, kTimers> comparators_;
  std::array<Timer, kTimers> alarms_;
  u32 config_ = 0;
  u32 status_ = 0;
  u64 base_ = 0;          // the counter's value at start_
  Nanoseconds start_{0};  // when it began to run; only while it runs
};

}  // namespace doppel
