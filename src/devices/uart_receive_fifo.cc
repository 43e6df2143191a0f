// Ring buffer, overrun and error rules of the 16550A's receiver.
#include "devices/uart_receive_fifo.h"

namespace doppel {

namespace {
constexpr u8 kLineDataReady = 1 << 0;
constexpr u8 kLineOverrun = 1 << 1;
constexpr u8 kLineFifoError = 1 << 7;
}  // namespace

void UartReceiveFifo::configure(bool is_enabled, u8 trigger) {
  if (is_enabled != is_enabled_) clear();
  is_enabled_ = is_enabled;
  trigger_ = is_enabled ? trigger & 3 : 0;
}

void UartReceiveFifo::clear() {
  head_ = 0;
  count_ = 0;
}

void UartReceiveFifo::reset() { *this = UartReceiveFifo(); }

void UartReceiveFifo::push(u8 character, u8 errors) {
  if (free_space() != 0) {
    entries_[(head_ + count_) % kSize] = {character, errors};
    ++count_;
    return;
  }
  has_overrun_ = true;
  // Data sheet 8.4: without FIFOs the new character replaces the old one, with FIFOs it is lost.
  if (!is_enabled_) entries_[head_] = {character, errors};
}

u8 UartReceiveFifo::pop() {
  const u8 character = entries_[head_].character;
  if (count_ == 0) return character;
  --count_;
  if (count_ != 0) head_ = (head_ + 1) % kSize;
  return character;
}

unsigned UartReceiveFifo::trigger_level() const {
  static constexpr std::array<u8, 4> kLevels = {1, 4, 8, 14};
  return is_enabled_ ? kLevels[trigger_] : 1;
}

u8 UartReceiveFifo::visible_errors() const { return count_ != 0 ? entries_[head_].errors : 0; }

bool UartReceiveFifo::has_line_error() const { return has_overrun_ || visible_errors() != 0; }

u8 UartReceiveFifo::line_status() const {
  u8 status = visible_errors();
  if (count_ != 0) status |= kLineDataReady;
  if (has_overrun_) status |= kLineOverrun;
  for (unsigned i = 0; is_enabled_ && i < count_; ++i) {
    if (entries_[(head_ + i) % kSize].errors != 0) status |= kLineFifoError;
  }
  return status;
}

void UartReceiveFifo::forget_errors() {
  has_overrun_ = false;
  if (count_ != 0) entries_[head_].errors = 0;
}

void UartReceiveFifo::visit_state(StateVisitor& visitor) {
  visitor.field("is_enabled", is_enabled_);
  visitor.field("trigger", trigger_);
  visitor.field("entries", entries_);
  visitor.field("head", head_);
  visitor.field("count", count_);
  visitor.field("has_overrun", has_overrun_);
  if (!visitor.is_loading() || (head_ < kSize && count_ <= capacity() && trigger_ < 4)) return;
  visitor.reject("receive FIFO positions out of range");
  reset();
}

}  // namespace doppel
