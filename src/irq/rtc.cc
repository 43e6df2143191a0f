// MC146818A registers, clock and interrupts. MC146818A data sheet.
#include "irq/rtc.h"

#include <algorithm>
#include <cstdlib>

#include "irq/timer_state.h"

namespace doppel {
namespace {

constexpr unsigned kSeconds = 0x00;
constexpr unsigned kSecondsAlarm = 0x01;
constexpr unsigned kMinutes = 0x02;
constexpr unsigned kMinutesAlarm = 0x03;
constexpr unsigned kHours = 0x04;
constexpr unsigned kHoursAlarm = 0x05;
constexpr unsigned kWeekday = 0x06;
constexpr unsigned kDay = 0x07;
constexpr unsigned kMonth = 0x08;
constexpr unsigned kYear = 0x09;
constexpr unsigned kRegisterA = 0x0a;
constexpr unsigned kRegisterB = 0x0b;
constexpr unsigned kRegisterC = 0x0c;
constexpr unsigned kRegisterD = 0x0d;
constexpr unsigned kCentury = 0x32;

constexpr u8 kUpdateInProgress = 0x80;
constexpr u8 kDividerRunning = 0x20;
constexpr u8 kDividerMask = 0x70;
constexpr u8 kSet = 0x80;
constexpr u8 kUpdateEnable = 0x10;
constexpr u8 kBinary = 0x04;
constexpr u8 kTwentyFourHour = 0x02;
constexpr u8 kInterruptRequest = 0x80;
constexpr u8 kPeriodic = 0x40;
constexpr u8 kAlarm = 0x20;
constexpr u8 kUpdate = 0x10;
constexpr u8 kInterruptFlags = kPeriodic | kAlarm | kUpdate;
constexpr u8 kValidRam = 0x80;
constexpr u8 kAlarmAny = 0xc0;

constexpr i64 kSecond = 1'000'000'000;
constexpr u64 kDividerHertz = 32768;
// The cycle takes 1984 us and is announced 244 us before; the registers hold the new time when it is over.
constexpr i64 kUpdateNanoseconds = 2'228'000;
// Leaving divider reset, the first update comes half a second later.
constexpr i64 kResetToUpdate = kSecond / 2;
constexpr i64 kSecondsPerDay = 86400;
// Bounds on a state file, so that arithmetic cannot overflow.
constexpr i64 kMaxSeconds = i64{1} << 40;
constexpr i64 kMaxElapsedSeconds = i64{1} << 31;
constexpr u64 kMaxPeriods = u64{1} << 45;

constexpr bool is_time(unsigned index) {
  return index == kSeconds || index == kMinutes || index == kHours || (index >= kWeekday && index <= kYear) ||
         index == kCentury;
}

i64 floor_divide(i64 value, i64 divisor) { return value / divisor - (value % divisor < 0 ? 1 : 0); }

}  // namespace

Rtc::Rtc(TimerQueue& timers, InterruptLine& interrupt, const CmosMemorySize& memory)
    : timers_(timers), interrupt_(interrupt), timer_(timers, [this] { on_timer(); }) {
  cmos_[kRegisterA] = kDividerRunning | 6;  // 1024 Hz
  cmos_[kRegisterB] = kTwentyFourHour;
  cmos_[kRegisterD] = kValidRam;
  fill_cmos_memory_size(cmos_, memory);
  epoch_seconds_ = static_cast<i64>(std::min<u64>(timers.inputs().boot_wall_clock_seconds(), kMaxSeconds));
  seen_second_ = seconds();
}

// The battery keeps time and memory; RESET clears the enables and flags. MC146818A, "RESET".
void Rtc::reset() {
  index_ = 0;
  is_nmi_masked_ = false;
  sync_flags();
  cmos_[kRegisterB] &= kSet | kBinary | kTwentyFourHour | 1;
  cmos_[kRegisterC] = 0;
  update_line();
  arm();
}

RtcFormat Rtc::format() const {
  return {(cmos_[kRegisterB] & kBinary) != 0, (cmos_[kRegisterB] & kTwentyFourHour) != 0};
}

bool Rtc::is_running() const {
  return (cmos_[kRegisterB] & kSet) == 0 && (cmos_[kRegisterA] & kDividerMask) == kDividerRunning;
}

i64 Rtc::seconds() { return epoch_seconds_ + floor_divide((timers_.now() - epoch_).count(), kSecond); }

// Ticks of the 32768 Hz divider chain since epoch_.
u64 Rtc::divider_ticks() {
  const Nanoseconds elapsed = std::max(timers_.now() - epoch_, Nanoseconds(0));
  return static_cast<u64>(u128{static_cast<u64>(elapsed.count())} * kDividerHertz / kSecond);
}

Nanoseconds Rtc::update_time(i64 second) const {
  return epoch_ + Nanoseconds((second - epoch_seconds_) * kSecond);
}

Nanoseconds Rtc::divider_time(u64 ticks) const {
  return epoch_ + Nanoseconds(static_cast<i64>((u128{ticks} * kSecond + kDividerHertz - 1) / kDividerHertz));
}

// Divider ticks between periodic interrupts, 0 when off. MC146818A, table 5, for a 32.768 kHz time base.
unsigned Rtc::periodic_ticks() const {
  const unsigned rate = cmos_[kRegisterA] & 15;
  if (rate == 0 || (cmos_[kRegisterA] & kDividerMask) != kDividerRunning) return 0;
  return rate <= 2 ? 64u << rate : 1u << (rate - 1);
}

bool Rtc::is_update_in_progress() {
  if (!is_running()) return false;
  return update_time(seconds() + 1) - timers_.now() <= Nanoseconds(kUpdateNanoseconds);
}

// Copies the running clock into the registers.
void Rtc::store_time() {
  const RtcTime time = from_seconds(seconds());
  const RtcFormat numbers = format();
  cmos_[kSeconds] = numbers.encode(time.second);
  cmos_[kMinutes] = numbers.encode(time.minute);
  cmos_[kHours] = numbers.encode_hour(time.hour);
  cmos_[kWeekday] = static_cast<u8>((time.weekday - 1 + weekday_shift_) % 7 + 1);
  cmos_[kDay] = numbers.encode(time.day);
  cmos_[kMonth] = numbers.encode(time.month);
  cmos_[kYear] = numbers.encode(time.year);
  cmos_[kCentury] = numbers.encode(time.century);
}

RtcTime Rtc::stored_time() const {
  const RtcFormat numbers = format();
  RtcTime time;
  time.second = numbers.decode(cmos_[kSeconds]);
  time.minute = numbers.decode(cmos_[kMinutes]);
  time.hour = numbers.decode_hour(cmos_[kHours]);
  time.weekday = numbers.decode(cmos_[kWeekday]);
  time.day = numbers.decode(cmos_[kDay]);
  time.month = numbers.decode(cmos_[kMonth]);
  time.year = numbers.decode(cmos_[kYear]);
  time.century = numbers.decode(cmos_[kCentury]);
  return time;
}

// Continues from what the registers say; the divider chain keeps its phase.
void Rtc::start_clock() {
  const RtcTime time = stored_time();
  epoch_seconds_ += to_seconds(time) - seconds();
  weekday_shift_ = (time.weekday + 7 - from_seconds(seconds()).weekday % 7) % 7;
  seen_second_ = seconds();
}

void Rtc::write_time(unsigned index, u8 value) {
  sync_flags();
  if (is_running()) store_time();
  cmos_[index] = value;
  if (is_running()) start_clock();
  arm();
}

void Rtc::write_control(u8 register_a, u8 register_b) {
  sync_flags();
  const bool was_running = is_running();
  const bool was_reset = (cmos_[kRegisterA] & kDividerMask) != kDividerRunning;
  if (was_running) store_time();
  // A change of the number format does not convert the registers; the running clock shows itself in the new
  // one.
  cmos_[kRegisterA] = register_a;
  cmos_[kRegisterB] = register_b;
  const bool is_reset = (register_a & kDividerMask) != kDividerRunning;
  if (was_reset && !is_reset) {
    epoch_seconds_ = 0;
    epoch_ = timers_.now() - Nanoseconds(kSecond - kResetToUpdate);
    seen_second_ = 0;
  }
  if (!was_running && is_running()) start_clock();
  const unsigned period = periodic_ticks();
  seen_periods_ = period == 0 ? 0 : divider_ticks() / period;
  update_line();
  arm();
}

// MC146818A: alarm bytes with both top bits set match anything.
bool Rtc::is_alarm_at(i64 second) const {
  const RtcTime time = from_seconds(second);
  const RtcFormat numbers = format();
  const auto is_match = [this](unsigned index, u8 value) {
    return cmos_[index] >= kAlarmAny || cmos_[index] == value;
  };
  return is_match(kSecondsAlarm, numbers.encode(time.second)) &&
         is_match(kMinutesAlarm, numbers.encode(time.minute)) &&
         is_match(kHoursAlarm, numbers.encode_hour(time.hour));
}

// Brings register C up to the present.
void Rtc::sync_flags() {
  const i64 second = seconds();
  if (is_running() && second > seen_second_) {
    cmos_[kRegisterC] |= kUpdate;
    // The alarm repeats every day, so the last day tells whether there was one.
    for (i64 s = std::max(seen_second_ + 1, second - kSecondsPerDay + 1); s <= second; ++s) {
      if ((cmos_[kRegisterC] & kAlarm) != 0) break;
      if (is_alarm_at(s)) cmos_[kRegisterC] |= kAlarm;
    }
  }
  seen_second_ = second;
  const unsigned period = periodic_ticks();
  if (period == 0) return;
  const u64 periods = divider_ticks() / period;
  if (periods > seen_periods_) cmos_[kRegisterC] |= kPeriodic;
  seen_periods_ = periods;
}

void Rtc::update_line() {
  const bool is_requested = (cmos_[kRegisterB] & cmos_[kRegisterC] & kInterruptFlags) != 0;
  cmos_[kRegisterC] =
      static_cast<u8>((cmos_[kRegisterC] & kInterruptFlags) | (is_requested ? kInterruptRequest : 0));
  interrupt_.set_level(is_requested);
}

// The timer is needed while an enabled interrupt may come and none is pending: the line is high until C is
// read.
void Rtc::arm() {
  timer_.disarm();
  if ((cmos_[kRegisterC] & kInterruptRequest) != 0) return;
  const u8 enabled = cmos_[kRegisterB];
  Nanoseconds deadline = Timer::kNever;
  const unsigned period = periodic_ticks();
  if ((enabled & kPeriodic) != 0 && period != 0) deadline = divider_time((seen_periods_ + 1) * period);
  if ((enabled & (kAlarm | kUpdate)) != 0 && is_running())
    deadline = std::min(deadline, update_time(seen_second_ + 1));
  if (deadline != Timer::kNever) timer_.arm(deadline);
}

void Rtc::on_timer() {
  sync_flags();
  update_line();
  arm();
}

u8 Rtc::read_register(unsigned index) {
  if (is_time(index) && is_running()) store_time();
  if (index == kRegisterA) {
    return static_cast<u8>(cmos_[kRegisterA] | (is_update_in_progress() ? kUpdateInProgress : 0));
  }
  if (index != kRegisterC) return cmos_[index];
  sync_flags();
  update_line();
  const u8 flags = cmos_[kRegisterC];
  cmos_[kRegisterC] = 0;  // reading acknowledges
  update_line();
  arm();
  return flags;
}

void Rtc::write_register(unsigned index, u8 value) {
  switch (index) {
    case kRegisterA:
      return write_control(value & ~kUpdateInProgress, cmos_[kRegisterB]);
    case kRegisterB:
      // Setting SET clears the update interrupt enable.
      return write_control(cmos_[kRegisterA], (value & kSet) != 0 ? value & ~kUpdateEnable : value);
    case kRegisterC:
    case kRegisterD:
      return;
    default:
      break;
  }
  if (is_time(index)) return write_time(index, value);
  sync_flags();  // an alarm time does not reach back
  cmos_[index] = value;
}

// Port 0x70 is write-only on a PC.
u8 Rtc::read_byte(u64 offset) { return offset == 0 ? u8{0xff} : read_register(index_); }

void Rtc::write_byte(u64 offset, u8 value) {
  if (offset != 0) return write_register(index_, value);
  index_ = value & (kSize - 1);
  is_nmi_masked_ = (value & 0x80) != 0;
}

void Rtc::visit_state(StateVisitor& visitor) {
  visitor.begin("rtc");
  visitor.field("cmos", cmos_);
  visitor.field("index", index_);
  visitor.field("is_nmi_masked", is_nmi_masked_);
  visit_time(visitor, "epoch", epoch_);
  visitor.field("epoch_seconds", epoch_seconds_);
  visitor.field("weekday_shift", weekday_shift_);
  visitor.field("seen_second", seen_second_);
  visitor.field("seen_periods", seen_periods_);
  visit_timer(visitor, "deadline", timer_);
  visitor.end();
  if (!visitor.is_loading()) return;
  const bool is_clock_sane = std::abs(epoch_seconds_) <= kMaxSeconds &&
                             std::abs(seen_second_) <= 2 * kMaxSeconds &&
                             std::abs(seen_second_ - epoch_seconds_) <= kMaxElapsedSeconds;
  if (is_clock_sane && weekday_shift_ < 7 && index_ < kSize && seen_periods_ <= kMaxPeriods) return;
  visitor.reject("impossible real-time clock");
  epoch_seconds_ = seen_second_ = 0;
  seen_periods_ = weekday_shift_ = index_ = 0;
}

}  // namespace doppel
