// RtcTime: a calendar time as the clock registers of the MC146818 hold it.
#pragma once

#include "base/types.h"

namespace doppel {

// Fields of the clock in plain numbers. Registers can hold anything; to_seconds() wraps values out of range.
struct RtcTime {
  unsigned second = 0;
  unsigned minute = 0;
  unsigned hour = 0;
  unsigned weekday = 1;  // 1 is Sunday
  unsigned day = 1;
  unsigned month = 1;
  unsigned year = 0;  // of the century
  unsigned century = 19;

  bool operator==(const RtcTime&) const = default;
};

// Seconds since 1970-01-01, which may be negative; the weekday is not looked at.
i64 to_seconds(const RtcTime& time);
// For years 0 to 9999; others are clamped.
RtcTime from_seconds(i64 seconds);

// How registers A and B make the numbers look. MC146818A data sheet, table 3.
struct RtcFormat {
  bool is_binary;   // DM
  bool is_24_hour;  // 24/12

  u8 encode(unsigned value) const;
  unsigned decode(u8 value) const;
  u8 encode_hour(unsigned hour) const;
  unsigned decode_hour(u8 value) const;
};

}  // namespace doppel
