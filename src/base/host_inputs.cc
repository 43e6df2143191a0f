// The only place that reads the host's clocks and entropy.
#include "base/host_inputs.h"

#include <sys/random.h>

#include <algorithm>
#include <ctime>

#include "base/verify.h"

namespace doppel {
namespace {

u64 read_clock(clockid_t clock) {
  timespec time;
  VERIFY(::clock_gettime(clock, &time) == 0);
  return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

}  // namespace

HostInputs::HostInputs(u64 tsc_hz)
    : tsc_hz_(tsc_hz),
      start_nanoseconds_(read_clock(CLOCK_MONOTONIC)),
      wall_clock_seconds_(read_clock(CLOCK_REALTIME) / 1'000'000'000) {}

Nanoseconds HostInputs::now() {
  return Nanoseconds(static_cast<i64>(read_clock(CLOCK_MONOTONIC) - start_nanoseconds_));
}

void HostInputs::entropy(std::span<u8> out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), std::min<std::size_t>(out.size(), 256), 0);
    VERIFY(got > 0);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace doppel
