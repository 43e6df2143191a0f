// The log threshold and the one place that writes log lines.
#include "base/log.h"

#include <cstdio>

namespace doppel {
namespace {
std::atomic<LogLevel> threshold = LogLevel::kWarning;

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kDebug:
      return "debug";
  }
  return "?";
}
}  // namespace

void set_log_level(LogLevel level) { threshold = level; }

bool is_logged(LogLevel level) { return level <= threshold.load(std::memory_order_relaxed); }

void log_line(LogLevel level, std::string_view message) {
  std::fprintf(stderr, "doppel: %s: %.*s\n", level_name(level), static_cast<int>(message.size()),
               message.data());
}

}  // namespace doppel
