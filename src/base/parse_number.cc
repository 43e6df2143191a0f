// Parsing of numbers and sizes.
#include "base/parse_number.h"

#include <charconv>

namespace doppel {

Result<u64> parse_size(std::string_view text) {
  u64 value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  u64 unit = 1;
  const std::string_view suffix(rest, static_cast<std::size_t>(end - rest));
  if (suffix == "K" || suffix == "k")
    unit = kKiB;
  else if (suffix == "M" || suffix == "m")
    unit = kMiB;
  else if (suffix == "G" || suffix == "g")
    unit = kGiB;
  else if (!suffix.empty())
    return fail_usage("size '{}': give a number with K, M or G", text);
  if (error != std::errc() || value > ~u64{0} / unit)
    return fail_usage("size '{}': give a number with K, M or G", text);
  return value * unit;
}

// CLI11's own conversion takes negative and too large numbers.
Result<u64> parse_count(std::string_view option, std::string_view text) {
  u64 value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && rest == end) return value;
  return fail_usage("{} '{}': give a number from 0 to {}", option, text, ~u64{0});
}

}  // namespace doppel
