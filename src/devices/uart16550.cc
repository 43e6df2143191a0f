// Registers, FIFO and interrupt logic of the 16550A.
#include "devices/uart16550.h"

#include <algorithm>

#include "base/log.h"
#include "devices/uart16550_registers.h"
#include "irq/timer_state.h"

namespace doppel {

namespace {

using namespace uart16550;

constexpr u64 kClockHz = 1'843'200;
constexpr unsigned kTimeoutCharacters = 4;
constexpr u16 kResetDivisor = 1;
// A sender that has more waits this long between two fillings of the FIFO, so that the guest's interrupt
// handler comes to an end and its terminal can take what arrived: 64 KB/s whatever the divisor says.
constexpr Nanoseconds kRefillTime = std::chrono::microseconds(250);

}  // namespace

Uart16550::Uart16550(TimerQueue& timers, InterruptLine& interrupt, CharacterSink& sink)
    : interrupt_(interrupt),
      sink_(sink),
      timers_(timers),
      timeout_timer_(timers, [this] { on_timeout(); }),
      refill_timer_(timers, [this] { offer_input_space(); }) {
  reset();
}

void Uart16550::reset() {
  interrupt_enable_ = line_control_ = modem_control_ = scratch_ = 0;
  divisor_ = kResetDivisor;
  fifo_.reset();
  timeout_timer_.disarm();
  refill_timer_.disarm();
  is_timeout_pending_ = false;
  is_transmit_pending_ = false;
  modem_inputs_ = kExternalModemInputs;
  modem_deltas_ = 0;
  update_interrupt();
  offer_input_space();
}

void Uart16550::read(u64 offset, std::span<u8> data) {
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = read_register(offset + i);
}

void Uart16550::write(u64 offset, std::span<const u8> data) {
  for (std::size_t i = 0; i < data.size(); ++i) write_register(offset + i, data[i]);
}

u8 Uart16550::read_register(u64 offset) {
  switch (offset) {
    case kDataRegister:
      return is_divisor_latched() ? static_cast<u8>(divisor_) : read_receive_buffer();
    case kInterruptEnableRegister:
      return is_divisor_latched() ? static_cast<u8>(divisor_ >> 8) : interrupt_enable_;
    case kInterruptIdRegister:
      return read_interrupt_identification();
    case kLineControlRegister:
      return line_control_;
    case kModemControlRegister:
      return modem_control_;
    case kLineStatusRegister:
      return read_line_status();
    case kModemStatusRegister:
      return read_modem_status();
    case kScratchRegister:
      return scratch_;
    default:
      return 0xff;
  }
}

void Uart16550::write_register(u64 offset, u8 value) {
  switch (offset) {
    case kDataRegister:
      if (!is_divisor_latched()) return write_transmit_holding(value);
      divisor_ = static_cast<u16>((divisor_ & 0xff00) | value);
      return;
    case kInterruptEnableRegister:
      if (!is_divisor_latched()) return write_interrupt_enable(value);
      divisor_ = static_cast<u16>((divisor_ & 0x00ff) | (value << 8));
      return;
    case kInterruptIdRegister:
      return write_fifo_control(value);
    case kLineControlRegister:
      // Bit 6 breaks the outgoing line only, which has no meaning for a character sink.
      line_control_ = value;
      return;
    case kModemControlRegister:
      return write_modem_control(value);
    case kScratchRegister:
      scratch_ = value;
      return;
    default:  // Data sheet 8.4, 8.7: writing LSR and MSR is for factory tests.
      LOG_GUEST("uart: write {:#x} to read-only register {}", value, offset);
  }
}

u8 Uart16550::read_receive_buffer() {
  const u8 value = fifo_.pop();
  is_timeout_pending_ = false;
  restart_timeout();
  update_interrupt();
  offer_input_space();
  return value;
}

u8 Uart16550::read_interrupt_identification() {
  const u8 pending = pending_interrupt();
  // Data sheet table IV: reading IIR resets the THRE interrupt if it is the source shown.
  if (pending == kInterruptTransmitted) {
    is_transmit_pending_ = false;
    update_interrupt();
  }
  return pending | (fifo_.is_enabled() ? kInterruptIdFifos : 0);
}

u8 Uart16550::read_line_status() {
  const u8 value = fifo_.line_status() | kLineTransmitHoldingEmpty | kLineTransmitterEmpty;
  fifo_.forget_errors();
  update_interrupt();
  return value;
}

u8 Uart16550::read_modem_status() {
  const u8 value = modem_inputs_ | modem_deltas_;
  modem_deltas_ = 0;
  update_interrupt();
  return value;
}

void Uart16550::write_transmit_holding(u8 value) {
  // The interrupt goes away with the write and comes back when the register is empty: a fresh edge.
  is_transmit_pending_ = false;
  update_interrupt();
  if (is_loopback()) {
    fifo_.push(value, 0);
    if (!is_timeout_pending_) restart_timeout();
  } else {
    sink_.put({&value, 1});
  }
  is_transmit_pending_ = true;
  update_interrupt();
}

void Uart16550::write_interrupt_enable(u8 value) {
  const u8 enabled = value & ~interrupt_enable_;
  interrupt_enable_ = value & 0x0f;
  // Enabling the THRE interrupt while the register is empty raises it at once; it always is.
  if ((enabled & kEnableTransmitted) != 0) is_transmit_pending_ = true;
  update_interrupt();
}

void Uart16550::write_fifo_control(u8 value) {
  const bool is_enabling = (value & kFifoEnable) != 0;
  // Data sheet 8.5: bit 0 must be set for the others to be programmed.
  if (is_enabling && (value & kFifoClearReceiver) != 0) fifo_.clear();
  fifo_.configure(is_enabling, value >> 6);
  if (fifo_.is_empty()) is_timeout_pending_ = false;
  if (!is_timeout_pending_) restart_timeout();
  update_interrupt();
  offer_input_space();
}

void Uart16550::write_modem_control(u8 value) {
  modem_control_ = value & kModemControlMask;
  update_modem_inputs();
  update_interrupt();
  offer_input_space();
}

bool Uart16550::is_loopback() const { return (modem_control_ & kModemLoop) != 0; }

Nanoseconds Uart16550::character_time() const {
  const u64 data_bits = 5 + (line_control_ & 3);
  const u64 stop_bits = bit(line_control_, 2) ? 2 : 1;
  const u64 parity_bits = bit(line_control_, 3) ? 1 : 0;
  const u64 clocks = (1 + data_bits + parity_bits + stop_bits) * 16 * std::max<u64>(divisor_, 1);
  return Nanoseconds(clocks * 1'000'000'000 / kClockHz);
}

std::size_t Uart16550::receive(std::span<const u8> characters) {
  std::size_t taken = 0;
  if (!refill_timer_.is_armed()) {
    while (taken < characters.size() && can_receive()) fifo_.push(characters[taken++], 0);
  }
  if (taken < characters.size()) was_input_refused_ = true;
  if (taken != 0 && taken < characters.size()) refill_timer_.arm(timers_.now() + kRefillTime);
  if (taken != 0 && !is_timeout_pending_) restart_timeout();
  update_interrupt();
  return taken;
}

bool Uart16550::receive_break() {
  if (!can_receive()) {
    was_input_refused_ = true;
    return false;
  }
  // Data sheet 8.4: one zero character is loaded into the FIFO when break occurs.
  fifo_.push(0, kLineBreak);
  if (!is_timeout_pending_) restart_timeout();
  update_interrupt();
  return true;
}

// Data sheet 8.5 "FIFO interrupt mode operation": four character times after the last arrival or read.
void Uart16550::restart_timeout() {
  if (!fifo_.is_enabled() || fifo_.is_empty()) return timeout_timer_.disarm();
  timeout_timer_.arm(timers_.now() + kTimeoutCharacters * character_time());
}

void Uart16550::on_timeout() {
  is_timeout_pending_ = !fifo_.is_empty();
  update_interrupt();
}

void Uart16550::update_modem_inputs() {
  u8 inputs = kExternalModemInputs;
  if (is_loopback()) {  // Data sheet 8.6: the four outputs feed the four inputs
    inputs = ((modem_control_ & kModemRts) != 0 ? kStatusCts : 0) |
             ((modem_control_ & kModemDtr) != 0 ? kStatusDsr : 0) |
             ((modem_control_ & kModemOut1) != 0 ? kStatusRing : 0) |
             ((modem_control_ & kModemOut2) != 0 ? kStatusCarrier : 0);
  }
  const u8 changed = inputs ^ modem_inputs_;
  // The ring indicator's delta marks its trailing edge only.
  const u8 reported = changed & (inputs & kStatusRing ? ~kStatusRing : 0xff);
  modem_deltas_ |= reported >> 4;
  modem_inputs_ = inputs;
}

u8 Uart16550::pending_interrupt() const {
  const u8 enabled = interrupt_enable_;
  if ((enabled & kEnableLineStatus) != 0 && fifo_.has_line_error()) return kInterruptLineStatus;
  if ((enabled & kEnableReceived) != 0 && fifo_.has_reached_trigger()) return kInterruptReceived;
  if ((enabled & kEnableReceived) != 0 && is_timeout_pending_) return kInterruptTimeout;
  if ((enabled & kEnableTransmitted) != 0 && is_transmit_pending_) return kInterruptTransmitted;
  if ((enabled & kEnableModemStatus) != 0 && modem_deltas_ != 0) return kInterruptModemStatus;
  return kNoInterrupt;
}

void Uart16550::update_interrupt() {
  // In loopback the OUT2 pin is inactive, and on a PC it gates the interrupt.
  const bool is_gate_open = (modem_control_ & kModemOut2) != 0 && !is_loopback();
  interrupt_.set_level(is_gate_open && pending_interrupt() != kNoInterrupt);
}

void Uart16550::offer_input_space() {
  if (!was_input_refused_ || !can_receive() || refill_timer_.is_armed()) return;
  was_input_refused_ = false;
  announce_input_space();
}

void Uart16550::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  visitor.field("interrupt_enable", interrupt_enable_);
  visitor.field("line_control", line_control_);
  visitor.field("modem_control", modem_control_);
  visitor.field("scratch", scratch_);
  visitor.field("divisor", divisor_);
  fifo_.visit_state(visitor);
  visitor.field("is_transmit_pending", is_transmit_pending_);
  visitor.field("is_timeout_pending", is_timeout_pending_);
  visitor.field("modem_inputs", modem_inputs_);
  visitor.field("modem_deltas", modem_deltas_);
  visit_timer(visitor, "timeout_deadline", timeout_timer_);
  visit_timer(visitor, "refill_deadline", refill_timer_);
  visitor.end();
  if (visitor.is_loading()) finish_loading();
}

void Uart16550::finish_loading() {
  interrupt_enable_ &= 0x0f;
  modem_control_ &= kModemControlMask;
  modem_inputs_ &= 0xf0;
  modem_deltas_ &= 0x0f;
  update_interrupt();
}

}  // namespace doppel
