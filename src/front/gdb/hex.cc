// Hexadecimal conversions.
#include "front/gdb/hex.h"

namespace doppel::gdb {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

}  // namespace

int hex_digit_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

std::string to_hex(std::span<const u8> bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const u8 byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string to_hex(std::string_view text) {
  return to_hex({reinterpret_cast<const u8*>(text.data()), text.size()});
}

std::optional<std::vector<u8>> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<u8> bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_digit_value(text[i]);
    const int low = hex_digit_value(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<u8>(high << 4 | low));
  }
  return bytes;
}

std::optional<u64> Scanner::number() {
  u64 value = 0;
  std::size_t length = 0;
  while (length < rest_.size() && hex_digit_value(rest_[length]) >= 0) {
    if (length == 16) return std::nullopt;
    value = value << 4 | static_cast<u64>(hex_digit_value(rest_[length]));
    ++length;
  }
  if (length == 0) return std::nullopt;
  rest_.remove_prefix(length);
  return value;
}

bool Scanner::skip(char expected) { return skip(std::string_view(&expected, 1)); }

bool Scanner::skip(std::string_view expected) {
  if (!rest_.starts_with(expected)) return false;
  rest_.remove_prefix(expected.size());
  return true;
}

std::string_view Scanner::until(char end) {
  const std::size_t length = std::min(rest_.find(end), rest_.size());
  const std::string_view found = rest_.substr(0, length);
  rest_.remove_prefix(std::min(length + 1, rest_.size()));
  return found;
}

}  // namespace doppel::gdb
