// UartReceiveFifo: the receive half of a 16550A: characters, their errors, overrun and trigger level.
#pragma once

#include <array>

#include "state/state_visitor.h"

namespace doppel {

// The receiver FIFO or, with FIFOs disabled, the one-character receive buffer register. PC16550D data
// sheet 8.4 and 8.5. A member of Uart16550.
class UartReceiveFifo {
 public:
  static constexpr unsigned kSize = 16;

  bool is_enabled() const { return is_enabled_; }
  bool is_empty() const { return count_ == 0; }
  unsigned free_space() const { return capacity() - count_; }
  bool has_reached_trigger() const { return count_ >= trigger_level(); }

  // Enabling and disabling empty the FIFO. `trigger` is FCR bits 6 and 7.
  void configure(bool is_enabled, u8 trigger);
  void clear();
  void reset();

  // `errors` are line status bits that belong to this character. Without space the overrun is latched.
  void push(u8 character, u8 errors);
  // The oldest character; the last one again when empty.
  u8 pop();

  // Line status bits 0..4 and 7.
  u8 line_status() const;
  bool has_line_error() const;
  // What reading LSR does: the overrun and the errors shown are forgotten.
  void forget_errors();

  void visit_state(StateVisitor& visitor);

 private:
  struct Entry {
    u8 character;
    u8 errors;
  };

  unsigned capacity() const { return is_enabled_ ? kSize : 1; }
  unsigned trigger_level() const;
  u8 visible_errors() const;

  bool is_enabled_ = false;
  u8 trigger_ = 0;                      // index of the trigger level
  std::array<Entry, kSize> entries_{};  // ring; entries_[head_] is RBR
  u8 head_ = 0;
  u8 count_ = 0;
  bool has_overrun_ = false;
};

}  // namespace doppel
