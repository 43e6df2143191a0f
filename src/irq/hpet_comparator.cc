// Matching and reloading of an HPET timer.
#include "irq/hpet_comparator.h"

namespace doppel {
namespace {

// IA-PC HPET 1.0a 2.3.8.
constexpr u32 kLevel = 1 << 1;
constexpr u32 kInterruptEnable = 1 << 2;
constexpr u32 kPeriodic = 1 << 3;
constexpr u32 kPeriodicCapable = 1 << 4;
constexpr u32 kWideCapable = 1 << 5;
constexpr u32 kSetAccumulator = 1 << 6;
constexpr u32 kForce32Bits = 1 << 8;
constexpr unsigned kRouteShift = 9;
constexpr u32 kRoute = 0x1f << kRouteShift;
constexpr u32 kMessageEnable = 1 << 14;
constexpr u32 kMessageCapable = 1 << 15;
constexpr u32 kWritable =
    kLevel | kInterruptEnable | kPeriodic | kSetAccumulator | kForce32Bits | kRoute | kMessageEnable;

}  // namespace

void HpetComparator::reset() { *this = HpetComparator(); }

u64 HpetComparator::config() const {
  constexpr u32 kCapabilities = kPeriodicCapable | kWideCapable | kMessageCapable;
  return u64{kRoutes} << 32 | kCapabilities | (config_ & ~kSetAccumulator);
}

// A route that does not exist is not taken over, so that guests can try. IA-PC HPET 1.0a 2.3.8.
void HpetComparator::write_config(u64 value) {
  u32 config = static_cast<u32>(value) & kWritable;
  const u32 route = (config & kRoute) >> kRouteShift;
  if (route != 0 && ((kRoutes >> route) & 1) == 0) config = (config & ~kRoute) | (config_ & kRoute);
  config_ = config;
  comparator_ &= mask();
}

void HpetComparator::write_comparator(u64 value) {
  value &= mask();
  if (!is_periodic() || (config_ & kSetAccumulator) != 0) comparator_ = value;
  if (is_periodic()) period_ = value;
  config_ &= ~kSetAccumulator;
}

bool HpetComparator::is_level() const { return (config_ & kLevel) != 0; }
bool HpetComparator::is_interrupt_enabled() const { return (config_ & kInterruptEnable) != 0; }
bool HpetComparator::is_periodic() const { return (config_ & kPeriodic) != 0; }
bool HpetComparator::is_message() const { return (config_ & kMessageEnable) != 0; }
unsigned HpetComparator::route() const { return (config_ & kRoute) >> kRouteShift; }
u64 HpetComparator::mask() const { return (config_ & kForce32Bits) != 0 ? 0xffffffff : ~u64{0}; }

std::optional<u64> HpetComparator::distance(u64 counter, bool includes_now) const {
  // A level timer sets its status bit even while it does not interrupt. IA-PC HPET 1.0a 2.3.8.
  if (!is_interrupt_enabled() && !is_periodic() && !is_level()) return std::nullopt;
  const u64 ticks = (comparator_ - counter) & mask();
  if (ticks != 0 || includes_now) return ticks;
  if (mask() == ~u64{0}) return std::nullopt;
  return mask() + 1;
}

void HpetComparator::advance(u64 counter) {
  if (!is_periodic() || period_ == 0) return;
  const u64 passed = (counter - comparator_) & mask();
  const u64 periods = (passed + kMinSpacing) / period_ + 1;
  comparator_ = (comparator_ + periods * period_) & mask();
}

void HpetComparator::visit_state(StateVisitor& visitor, std::string_view name) {
  visitor.begin(name);
  visitor.field("config", config_);
  visitor.field("comparator", comparator_);
  visitor.field("period", period_);
  visitor.field("message", message_);
  visitor.end();
  if (!visitor.is_loading()) return;
  config_ &= kWritable;
  if (route() != 0 && ((kRoutes >> route()) & 1) == 0) config_ &= ~kRoute;
  comparator_ &= mask();
  period_ &= mask();
}

}  // namespace doppel
