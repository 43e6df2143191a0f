// Hexadecimal numbers and byte strings as GDB's remote protocol writes them.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace doppel::gdb {

// -1 when it is none.
int hex_digit_value(char digit);
// Two digits a byte.
std::string to_hex(std::span<const u8> bytes);
std::string to_hex(std::string_view text);
// Nothing unless all of it is pairs of digits.
std::optional<std::vector<u8>> from_hex(std::string_view text);

// Reads a text from its start; what was understood is gone from it.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  // A number of 1 to 16 digits.
  std::optional<u64> number();
  // Skips `expected` if it is next.
  bool skip(char expected);
  bool skip(std::string_view expected);
  // Up to `end`, which is skipped, or to the end of the text.
  std::string_view until(char end);
  std::string_view rest() const { return rest_; }
  bool is_empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace doppel::gdb
