// Leveled log lines on standard error; guest-triggered lines go through a per-site rate limit.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <string_view>

#include "base/types.h"

namespace doppel {

enum class LogLevel : u8 { kError, kWarning, kInfo, kDebug };

// The process-wide threshold; messages above it are dropped. Default: kWarning.
void set_log_level(LogLevel level);
bool is_logged(LogLevel level);
void log_line(LogLevel level, std::string_view message);

// Counts what a guest can trigger at will; lets the first `kBurst` lines of each site through.
class LogSite {
 public:
  static constexpr u32 kBurst = 16;
  bool admit() { return count_.fetch_add(1, std::memory_order_relaxed) < kBurst; }

 private:
  std::atomic<u32> count_ = 0;
};

}  // namespace doppel

#define LOG_AT(level, ...)                                                               \
  do {                                                                                   \
    if (::doppel::is_logged(level)) ::doppel::log_line(level, fmt::format(__VA_ARGS__)); \
  } while (false)
#define LOG_ERROR(...) LOG_AT(::doppel::LogLevel::kError, __VA_ARGS__)
#define LOG_WARNING(...) LOG_AT(::doppel::LogLevel::kWarning, __VA_ARGS__)
#define LOG_INFO(...) LOG_AT(::doppel::LogLevel::kInfo, __VA_ARGS__)
// For whatever a guest can cause: debug level and rate limited per call site.
#define LOG_GUEST(...)                                                          \
  do {                                                                          \
    static ::doppel::LogSite log_site;                                          \
    if (::doppel::is_logged(::doppel::LogLevel::kDebug) && log_site.admit())    \
      ::doppel::log_line(::doppel::LogLevel::kDebug, fmt::format(__VA_ARGS__)); \
  } while (false)
