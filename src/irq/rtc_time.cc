// Calendar arithmetic and number formats of the real-time clock.
#include "irq/rtc_time.h"

#include <algorithm>
#include <chrono>

namespace doppel {
namespace {

using std::chrono::sys_days;
using std::chrono::year_month_day;

constexpr i64 kSecondsPerDay = 86400;
constexpr u8 kPm = 0x80;

i64 first_second_of(int year) {
  const sys_days day = std::chrono::year(year) / 1 / 1;
  return day.time_since_epoch().count() * kSecondsPerDay;
}

}  // namespace

i64 to_seconds(const RtcTime& time) {
  const int year = static_cast<int>(time.century % 100 * 100 + time.year % 100);
  const unsigned month = (time.month + 11) % 12 + 1;
  const sys_days first = std::chrono::year(year) / std::chrono::month(month) / 1;
  const i64 days = first.time_since_epoch().count() + i64{time.day} - 1;
  return days * kSecondsPerDay + time.hour * i64{3600} + time.minute * i64{60} + time.second;
}

RtcTime from_seconds(i64 seconds) {
  seconds = std::clamp(seconds, first_second_of(0), first_second_of(10000) - 1);
  const auto since_epoch = std::chrono::seconds(seconds);
  const auto days = std::chrono::floor<std::chrono::days>(since_epoch);
  const year_month_day date{sys_days(days)};
  const unsigned second_of_day = static_cast<unsigned>((since_epoch - days).count());
  const unsigned year = static_cast<unsigned>(static_cast<int>(date.year()));

  RtcTime time;
  time.second = second_of_day % 60;
  time.minute = second_of_day / 60 % 60;
  time.hour = second_of_day / 3600;
  time.weekday = std::chrono::weekday(sys_days(days)).c_encoding() + 1;
  time.day = static_cast<unsigned>(date.day());
  time.month = static_cast<unsigned>(date.month());
  time.year = year % 100;
  time.century = year / 100;
  return time;
}

u8 RtcFormat::encode(unsigned value) const {
  return static_cast<u8>(is_binary ? value : (value / 10 << 4) | value % 10);
}

unsigned RtcFormat::decode(u8 value) const { return is_binary ? value : (value >> 4) * 10u + (value & 15); }

u8 RtcFormat::encode_hour(unsigned hour) const {
  if (is_24_hour) return encode(hour);
  const unsigned half_day = hour % 12 == 0 ? 12 : hour % 12;
  return static_cast<u8>(encode(half_day) | (hour >= 12 ? kPm : 0));
}

unsigned RtcFormat::decode_hour(u8 value) const {
  if (is_24_hour) return decode(value);
  return decode(value & ~kPm) % 12 + ((value & kPm) != 0 ? 12 : 0);
}

}  // namespace doppel
