// A 16550A on a bench, for its tests.
#pragma once

#include <gtest/gtest.h>

#include "devices/device_fakes.h"
#include "devices/uart16550.h"

namespace doppel {

inline constexpr u64 kData = 0, kIer = 1, kIir = 2, kFcr = 2, kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6,
                     kScr = 7;
inline constexpr u8 kOut2 = 0x08;

// Owned by the test; the chip, its line, its terminal and its time.
class Uart : public testing::Test {
 protected:
  u8 in(u64 offset) { return static_cast<u8>(read_from(uart_, offset)); }
  void out(u64 offset, u8 value) { write_to(uart_, offset, value); }
  std::size_t type(std::string_view text) {
    return uart_.receive({reinterpret_cast<const u8*>(text.data()), text.size()});
  }
  void pass(Nanoseconds time) {
    inputs_.set_now(inputs_.now() + time);
    timers_.run_expired(inputs_.now());
  }
  void enable(u8 interrupts, u8 fifo_control) {
    out(kMcr, kOut2);
    out(kFcr, fifo_control);
    out(kIer, interrupts);
  }
  // 115200 baud, eight bits, no parity, one stop bit: a character takes 86.8 us.
  void set_fastest_line() { out(kLcr, 3); }

  FakeInputs inputs_;
  TimerQueue timers_{inputs_};
  FakeLine line_;
  FakeSink sink_;
  Uart16550 uart_{timers_, line_, sink_};
};

}  // namespace doppel
