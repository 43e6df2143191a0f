// Balancing what direct execution gains against what it costs.
#include "engine/direct/policy.h"

#include <utility>

namespace doppel::direct {

void Policy::note_stretch(Time start, Time now, u64 calls, bool is_return) {
  if (calls == 0) time_ += now - start;  // else who knows how much of it was the system's
  events_ += calls + (is_return ? 1 : 0);
  if (time_ < kEnough && events_ < kManyEvents) return;
  is_active_ = events_ * kStretch < time_;
  time_ = {};
  events_ = 0;
}

void Policy::note_event(Time now) {
  const bool is_soon = now - std::exchange(last_event_, now) < kStretch;
  in_a_row_ = is_soon ? in_a_row_ + 1 : 0;
  if (in_a_row_ < kManyInARow) return;
  is_active_ = false;
  in_a_row_ = 0;
}

void Policy::note_round(Duration away) {
  const Duration ran = std::max(away - kRoundCost, Duration(0));
  const auto gained = std::chrono::duration_cast<Duration>(ran * kGain);
  balance_ = std::min(balance_ + gained - (away - ran), kCredit);
}

void Policy::settle(Time now, Duration work) {
  balance_ -= work;
  if (balance_ == kCredit) pause_ = kFirstPause;
  if (balance_ < -kDebt) stop(now);
}

void Policy::stop(Time now) {
  is_active_ = false;
  balance_ = {};
  resting_until_ = now + pause_;
  pause_ = std::min(2 * pause_, kLongestPause);
}

}  // namespace doppel::direct
