// Balancing what direct execution gains against what it costs.
#include "engine/direct/policy.h"

#include <utility>

namespace doppel::direct {

void Policy::note_stretch(const Stretch& stretch) {
  if (is_active_) return;
  if (stretch.calls == 0) time_ += stretch.end - stretch.start;  // else who knows how much was the system's
  events_ += stretch.calls + (stretch.is_return ? 1 : 0);
  if (time_ < kEnough && events_ < kManyEvents) return;
  is_active_ = events_ * kStretch < time_;
  time_ = {};
  events_ = 0;
}

void Policy::note_code(u64 pages) {
  balance_ = std::min(balance_ + static_cast<i64>(pages) * kCodePage, kCredit);
  in_a_row_ = 0;
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
