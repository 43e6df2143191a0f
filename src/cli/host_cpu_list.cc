// Parsing lists of host CPUs.
#include "cli/host_cpu_list.h"

#include <charconv>
#include <optional>

namespace doppel {
namespace {

constexpr unsigned kLargest = 1023;

std::optional<unsigned> parse_cpu(std::string_view text) {
  unsigned value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || value > kLargest) return std::nullopt;
  return value;
}

}  // namespace

Result<std::vector<unsigned>> parse_host_cpus(std::string_view text) {
  std::vector<unsigned> cpus;
  std::string_view rest = text;
  while (!rest.empty() || rest.data() != text.data()) {
    const std::size_t comma = rest.find(',');
    const std::string_view part = rest.substr(0, comma);
    const std::size_t dash = part.find('-');
    const std::optional<unsigned> first = parse_cpu(part.substr(0, dash));
    const std::optional<unsigned> last = dash == part.npos ? first : parse_cpu(part.substr(dash + 1));
    if (!first || !last || *last < *first) {
      return fail_usage("--pin {}: give host CPUs such as 0,2-5", text);
    }
    for (unsigned cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
    if (comma == rest.npos) break;
    rest.remove_prefix(comma + 1);
  }
  return cpus;
}

}  // namespace doppel
