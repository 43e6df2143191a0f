// Prints the failed condition and aborts.
#include "base/verify.h"

#include <cstdio>
#include <cstdlib>

namespace doppel {

void verify_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "doppel: internal error: %s does not hold at %s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace doppel
