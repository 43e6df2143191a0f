// A vCPU's thread on one CPU of the host.
#include "engine/direct/host_place.h"

namespace doppel::direct {
namespace {

constexpr unsigned kRoundsTogether = 64;

}  // namespace

void HostPlace::gather() {
  if (cpu_ != kAnywhere) {
    if (++rounds_ % kRoundsTogether == 0) scatter();
    return;
  }
  if (!is_known_) is_known_ = ::sched_getaffinity(0, sizeof(allowed_), &allowed_) == 0;
  const int here = ::sched_getcpu();
  if (!is_known_ || here < 0) return;
  CPU_ZERO(&held_);
  CPU_SET(static_cast<size_t>(here), &held_);
  if (::sched_setaffinity(0, sizeof(held_), &held_) == 0) cpu_ = here;
}

void HostPlace::scatter() {
  if (cpu_ == kAnywhere) return;
  cpu_ = kAnywhere;
  ::sched_setaffinity(0, sizeof(allowed_), &allowed_);
}

}  // namespace doppel::direct
