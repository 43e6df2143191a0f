// Lines to commands, results to lines.
#include "cli/control_lines.h"

#include <algorithm>

#include "base/parse_number.h"

namespace doppel {
namespace {

constexpr std::string_view kHelp =
    "ok balloon SIZE | balloon-statistics | power-button | engine interp|jit|kvm | statistics FILE | quit | "
    "help";
// virtio 1.2 section 5.5.6.3, in the order of the tags; memory in bytes.
constexpr std::string_view kStatistics[] = {
    "swap-in", "swap-out",  "major-faults", "minor-faults", "free",
    "total",   "available", "caches",       "huge-pages",   "huge-page-failures"};
constexpr std::size_t kLongestEcho = 40;
constexpr std::string_view kBlanks = " \t\r";

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string error(std::string_view text) {
  std::string line = "error: " + std::string(text);
  std::ranges::replace_if(line, [](char c) { return c < ' ' || c > '~'; }, '?');
  return line;
}

}  // namespace

std::string ControlLines::answer(std::string_view line) {
  line = trimmed(line);
  const std::string_view name = line.substr(0, line.find_first_of(kBlanks));
  const std::string_view argument = trimmed(line.substr(name.size()));
  if (name == "balloon") return set_balloon(argument);
  if (name == "engine") return switch_engine(argument);
  if (name == "statistics") {
    if (argument.empty()) return error("statistics: give the file to write");
    // A path that a NUL would cut short names another file.
    if (argument.find('\0') != std::string_view::npos)
      return error("statistics: no file has a NUL in its name");
    return execute(WriteStatistics{std::string(argument)});
  }
  if (!argument.empty() && !name.empty()) {
    return error(
        fmt::format("'{}' is no command, or takes no argument; try help", name.substr(0, kLongestEcho)));
  }
  if (name == "balloon-statistics") return read_balloon();
  if (name == "power-button") return execute(PressPowerButton{});
  if (name == "quit") return execute(Quit{});
  if (name == "help") return std::string(kHelp);
  return error(fmt::format("'{}' is no command; try help", name.substr(0, kLongestEcho)));
}

std::string ControlLines::execute(const Command& command) {
  const Result<std::size_t> done = port_(command);
  return done ? "ok" : error(done.error().message);
}

std::string ControlLines::set_balloon(std::string_view size) {
  const Result<u64> bytes = parse_size(std::string(size.substr(0, kLongestEcho)));
  if (!bytes) return error("balloon: give a size, such as 128M");
  return execute(SetBalloon{*bytes});
}

std::string ControlLines::switch_engine(std::string_view name) {
  for (const Engine engine : {Engine::kInterp, Engine::kJit, Engine::kKvm}) {
    if (name == engine_name(engine)) return execute(SwitchEngine{engine});
  }
  return error("engine: give interp, jit or kvm");
}

std::string ControlLines::read_balloon() {
  BalloonReport report;
  if (const auto done = port_(ReadBalloonStatistics{report}); !done) return error(done.error().message);
  std::string line = fmt::format("ok target={} actual={} fresh={}", report.target_bytes, report.actual_bytes,
                                 report.is_fresh ? "yes" : "no");
  static_assert(std::size(kStatistics) == std::tuple_size_v<decltype(BalloonReport::statistics)>);
  for (std::size_t i = 0; i < report.statistics.size(); ++i) {
    if (report.statistics[i]) line += fmt::format(" {}={}", kStatistics[i], *report.statistics[i]);
  }
  return line;
}

}  // namespace doppel
