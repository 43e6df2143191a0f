// Uart16550: the PC's serial port, a 16550A with FIFOs.
#pragma once

#include "base/timer_queue.h"
#include "bus/bus_device.h"
#include "devices/console.h"
#include "devices/uart_receive_fifo.h"
#include "state/state_visitor.h"

namespace doppel {

// A National PC16550D (data sheet SNLS378) with a 1.8432 MHz clock, wired as a PC's COM port: the interrupt
// reaches the line only while OUT2 is set. Transmission takes no machine time: the transmitter is always
// empty again when the write to THR returns. Reception never overruns from outside, because the console input
// waits while the FIFO is full. Owned by the registry's DeviceParts; called with the device lock held.
class Uart16550 final : public Component, public BusDevice, public ConsoleInput {
 public:
  Uart16550(TimerQueue& timers, InterruptLine& interrupt, CharacterSink& sink);

  std::string_view name() const override { return "uart16550"; }
  void reset() override;
  void visit_state(StateVisitor& visitor) override;

  void read(u64 offset, std::span<u8> data) override;
  void write(u64 offset, std::span<const u8> data) override;

  using ConsoleInput::receive;
  // Takes nothing while the guest has the chip in loopback, where the serial input is disconnected.
  std::size_t receive(std::span<const u8> characters) override;
  bool receive_break() override;

 private:
  u8 read_register(u64 offset);
  void write_register(u64 offset, u8 value);

  u8 read_receive_buffer();
  u8 read_interrupt_identification();
  u8 read_line_status();
  u8 read_modem_status();
  void write_transmit_holding(u8 value);
  void write_interrupt_enable(u8 value);
  void write_fifo_control(u8 value);
  void write_modem_control(u8 value);

  bool is_divisor_latched() const { return (line_control_ & 0x80) != 0; }
  bool is_loopback() const;
  bool can_receive() const { return !is_loopback() && fifo_.free_space() != 0; }
  Nanoseconds character_time() const;

  void restart_timeout();
  void on_timeout();

  void update_modem_inputs();
  // The identification of the highest pending interrupt, kNoInterrupt when none.
  u8 pending_interrupt() const;
  void update_interrupt();
  void offer_input_space();
  void finish_loading();

  InterruptLine& interrupt_;
  CharacterSink& sink_;
  TimerQueue& timers_;
  Timer timeout_timer_;
  Timer refill_timer_;              // armed: no further input is taken yet
  bool was_input_refused_ = false;  // of the host side: a receive() was cut short since the last announcement

  u8 interrupt_enable_ = 0;
  u8 line_control_ = 0;
  u8 modem_control_ = 0;
  u8 scratch_ = 0;
  u16 divisor_ = 0;

  UartReceiveFifo fifo_;
  bool is_transmit_pending_ =
      false;  // THRE interrupt: set on "empty again", cleared by an IIR read showing it
  bool is_timeout_pending_ = false;
  u8 modem_inputs_ = 0;  // MSR bits 4..7 when last looked at
  u8 modem_deltas_ = 0;  // MSR bits 0..3
};

}  // namespace doppel
