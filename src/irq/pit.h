// Pit: the 8254 interval timer of a PC, and port 61h, which shares its channel 2.
#pragma once

#include <array>

#include "base/timer_queue.h"
#include "irq/byte_ports.h"
#include "irq/pit_channel.h"
#include "state/state_visitor.h"

namespace doppel {

// Intel 8254 at ports 0x40..0x43. Channel 0 drives `interrupt` (ISA interrupt 0), channel 1 once refreshed
// DRAM, channel 2 is the speaker. Owned by the machine; called with the device lock held.
class Pit final : public Component, public BytePorts {
 public:
  static constexpr u64 kHertz = 1193182;

  Pit(TimerQueue& timers, InterruptLine& interrupt);

  // Channel 2, for port 61h.
  bool speaker_gate() const { return channels_[2].gate(); }
  void set_speaker_gate(bool is_high);
  bool speaker_output();

  std::string_view name() const override { return "pit"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

 private:
  u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  void write_control(u8 value);
  void read_back(u8 value);
  u64 now_ticks();
  void arm(u64 after);
  void update();
  void tick();

  TimerQueue& timers_;
  InterruptLine& interrupt_;
  Timer timer_;
  std::array<PitChannel, 3> channels_;
};

// System control port B at 0x61: channel 2's gate and output, the speaker enable and the refresh toggle.
// Owned by the machine beside its Pit. The parity and I/O-check bits can be written but never report
// anything.
class SystemControlPort final : public Component, public BytePorts {
 public:
  SystemControlPort(TimerQueue& timers, Pit& pit) : timers_(timers), pit_(pit) {}

  std::string_view name() const override { return "system_control_port"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

 private:
  u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;

  TimerQueue& timers_;
  Pit& pit_;
  u8 control_ = 0;  // bits 3..1; bit 0 is the gate
};

}  // namespace doppel
