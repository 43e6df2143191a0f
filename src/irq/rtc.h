// Rtc: the MC146818 real-time clock with the CMOS memory of a PC.
#pragma once

#include <array>

#include "base/timer_queue.h"
#include "irq/byte_ports.h"
#include "irq/cmos_memory.h"
#include "irq/rtc_time.h"
#include "state/state_visitor.h"

namespace doppel {

// A Motorola MC146818A with 128 bytes, index and data ports 0x70 and 0x71, ISA interrupt 8. The time of day
// is the wall clock at machine start plus machine time, until the guest sets it. Flags of register C are
// worked out when somebody looks; a timer runs only while an interrupt is enabled that could still change the
// line. Owned by the machine; called with the device lock held.
class Rtc final : public Component, public BytePorts {
 public:
  Rtc(TimerQueue& timers, InterruptLine& interrupt, const CmosMemorySize& memory);

  // Bit 7 of the index port: the guest wants no NMIs.
  bool is_nmi_masked() const { return is_nmi_masked_; }

  std::string_view name() const override { return "rtc"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

 private:
  static constexpr unsigned kSize = kCmosSize;

  u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  u8 read_register(unsigned index);
  void write_register(unsigned index, u8 value);

  RtcFormat format() const;
  bool is_running() const;
  i64 seconds();
  u64 divider_ticks();
  Nanoseconds update_time(i64 second) const;
  Nanoseconds divider_time(u64 ticks) const;
  unsigned periodic_ticks() const;
  bool is_update_in_progress();

  void store_time();
  RtcTime stored_time() const;
  void start_clock();
  void write_time(unsigned index, u8 value);
  void write_control(u8 register_a, u8 register_b);

  bool is_alarm_at(i64 second) const;
  void sync_flags();
  void update_line();
  void arm();
  void on_timer();

  TimerQueue& timers_;
  InterruptLine& interrupt_;
  Timer timer_;

  std::array<u8, kSize> cmos_ = {};
  u8 index_ = 0;
  bool is_nmi_masked_ = false;
  // The clock reads epoch_seconds_ at epoch_ and its divider chain was 0 then.
  Nanoseconds epoch_{0};
  i64 epoch_seconds_ = 0;
  unsigned weekday_shift_ = 0;  // days by which the guest's weekday is off the calendar
  i64 seen_second_ = 0;         // updates up to this one are in the flags
  u64 seen_periods_ = 0;        // and periodic ticks up to this one
};

}  // namespace doppel
