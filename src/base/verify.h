// VERIFY(condition): ends the process when the project itself is wrong; never for guest or peer behaviour.
#pragma once

namespace doppel {
[[noreturn]] void verify_failed(const char* condition, const char* file, int line);
}

#define VERIFY(condition)                                      \
  do {                                                         \
    if (!(condition)) [[unlikely]]                             \
      ::doppel::verify_failed(#condition, __FILE__, __LINE__); \
  } while (false)
