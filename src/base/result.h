// Result<T>: how a fallible operation reports what the host or the user did wrong.
#pragma once

#include <fmt/format.h>

#include <expected>
#include <string>
#include <utility>

namespace doppel {

// One line for a person: what was tried, what was found, what to do. `is_usage` marks bad command-line
// input (exit status 2 instead of 1).
struct Error {
  std::string message;
  bool is_usage = false;
};

template <class T>
using Result = std::expected<T, Error>;

template <class... Args>
std::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{fmt::format(format, std::forward<Args>(args)...), false});
}

template <class... Args>
std::unexpected<Error> fail_usage(fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error{fmt::format(format, std::forward<Args>(args)...), true});
}

}  // namespace doppel

// Evaluates to the value of a Result, or returns its error from the enclosing function.
#define TRY(expression)                                                     \
  __extension__({                                                           \
    auto try_result = (expression);                                         \
    if (!try_result) return std::unexpected(std::move(try_result).error()); \
    std::move(*try_result);                                                 \
  })

// The same for Result<void>.
#define TRY_VOID(expression)                                                \
  do {                                                                      \
    auto try_result = (expression);                                         \
    if (!try_result) return std::unexpected(std::move(try_result).error()); \
  } while (false)
