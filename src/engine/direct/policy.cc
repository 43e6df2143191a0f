// Balancing what direct execution gains against what it costs.
#include "engine/direct/policy.h"

#include <utility>

namespace doppel::direct {

void Policy::note_stretch(Time start, Time now, u64 calls) {
  if (calls == 0) time_ += now - start;  // else who knows how much of it was the system's
  events_ += calls + 1;
  if (time_ < kEnough && events_ < kManyEvents) return;
  if (events_ * kStretch < time_) {
    is_active_ = true;
    balance_ = {};
  }
  time_ = {};
  events_ = 0;
}

void Policy::note_guest_fault(Time now) {
  if (now - std::exchange(last_fault_, now) < kFaultsApart) is_active_ = false;
}

void Policy::note_round(Duration away) {
  const Duration ran = std::max(away - kRoundCost, Duration(0));
  const auto gained = std::chrono::duration_cast<Duration>(ran * kGain);
  balance_ = std::min(balance_ + gained - (away - ran), kCredit);
}

void Policy::settle(Time now, Duration work) {
  balance_ -= work;
  if (balance_ > kCredit / 2) pause_ = kFirstPause;
  if (balance_ < -kCredit) stop(now);
}

void Policy::stop(Time now) {
  is_active_ = false;
  resting_until_ = now + pause_;
  pause_ = std::min(2 * pause_, kLongestPause);
}

}  // namespace doppel::direct
