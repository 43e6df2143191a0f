// Registers, alarms and interrupt lines of the HPET.
#include "irq/hpet.h"

#include <algorithm>

#include "irq/timer_state.h"

namespace doppel {
namespace {

// IA-PC HPET 1.0a 2.3.1.
constexpr u64 kCapabilities = 0x000;
constexpr u64 kConfig = 0x010;
constexpr u64 kStatus = 0x020;
constexpr u64 kCounter = 0x0f0;
constexpr u64 kFirstTimer = 0x100;
constexpr u64 kTimerSize = 0x20;
constexpr u64 kTimerConfig = 0x00;
constexpr u64 kTimerComparator = 0x08;
constexpr u64 kTimerMessage = 0x10;
constexpr u64 kRegisterSize = 8;

// 2.3.4, as the HPET table says; the high half is the length of a tick in femtoseconds.
constexpr u64 kIdentity = 0x8086a201;
constexpr u64 kFemtosecondsPerTick = Hpet::kTickNanoseconds * 1'000'000;

// 2.3.5.
constexpr u32 kEnable = 1 << 0;
constexpr u32 kLegacyReplacement = 1 << 1;

constexpr u32 kStatusMask = (1 << Hpet::kTimers) - 1;

}  // namespace

Hpet::Hpet(TimerQueue& timers, const HpetWiring& wiring)
    : timers_(timers),
      wiring_(wiring),
      pit_input_(*this, wiring.isa0),
      rtc_input_(*this, wiring.isa8),
      alarms_{{{timers, [this] { expire(0); }}, {timers, [this] { expire(1); }}, {timers, [this] {
                                                                                    expire(2);
                                                                                  }}}} {}

void Hpet::reset() {
  for (HpetComparator& comparator : comparators_) comparator.reset();
  config_ = status_ = 0;
  base_ = 0;
  start_ = Nanoseconds(0);
  schedule_all();
  update_lines();
}

bool Hpet::is_running() const { return (config_ & kEnable) != 0; }
bool Hpet::replaces_legacy() const { return (config_ & kLegacyReplacement) != 0; }

u64 Hpet::counter() {
  if (!is_running()) return base_;
  const Nanoseconds elapsed = std::max(timers_.now() - start_, Nanoseconds(0));
  return base_ + static_cast<u64>(elapsed.count()) / kTickNanoseconds;
}

void Hpet::LegacyInput::set_level(bool is_level_high) {
  is_high = is_level_high;
  if (!owner.replaces_legacy()) line.set_level(is_high);
}

void Hpet::read(u64 offset, std::span<u8> data) {
  run_due();
  const u64 within = offset % kRegisterSize;
  const std::span<u8> here = data.first(std::min<u64>(data.size(), kRegisterSize - within));
  store_le(here, read_register(offset - within) >> (8 * within));
  if (here.size() < data.size()) read(offset + here.size(), data.subspan(here.size()));
}

// A write to a part of a register leaves the rest of it as it is; status bits of the rest are not cleared.
void Hpet::write(u64 offset, std::span<const u8> data) {
  run_due();
  const u64 within = offset % kRegisterSize;
  const std::span<const u8> here = data.first(std::min<u64>(data.size(), kRegisterSize - within));
  std::array<u8, kRegisterSize> bytes = {};
  if (offset - within != kStatus) store_le(bytes, read_register(offset - within));
  std::ranges::copy(here, bytes.begin() + static_cast<std::ptrdiff_t>(within));
  write_register(offset - within, load_le(bytes));
  if (here.size() < data.size()) write(offset + here.size(), data.subspan(here.size()));
}

u64 Hpet::read_register(u64 offset) {
  switch (offset) {
    case kCapabilities:
      return kFemtosecondsPerTick << 32 | kIdentity;
    case kConfig:
      return config_;
    case kStatus:
      return status_;
    case kCounter:
      return counter();
    default:
      break;
  }
  const u64 index = (offset - kFirstTimer) / kTimerSize;
  if (offset < kFirstTimer || index >= kTimers) return 0;
  switch ((offset - kFirstTimer) % kTimerSize) {
    case kTimerConfig:
      return comparators_[index].config();
    case kTimerComparator:
      return comparators_[index].comparator();
    case kTimerMessage:
      return comparators_[index].message();
    default:
      return 0;
  }
}

void Hpet::write_register(u64 offset, u64 value) {
  switch (offset) {
    case kConfig:
      return write_config(value);
    case kStatus:
      status_ &= ~static_cast<u32>(value);
      return update_lines();
    case kCounter:
      // 2.3.7: only while the counter is halted.
      if (!is_running()) base_ = value;
      return;
    default:
      break;
  }
  const u64 index = (offset - kFirstTimer) / kTimerSize;
  if (offset < kFirstTimer || index >= kTimers) return;
  write_timer_register(static_cast<unsigned>(index), (offset - kFirstTimer) % kTimerSize, value);
}

void Hpet::write_timer_register(unsigned index, u64 offset, u64 value) {
  HpetComparator& comparator = comparators_[index];
  switch (offset) {
    case kTimerConfig:
      comparator.write_config(value);
      // A timer that is no longer a level keeps no status. 2.3.6.
      if (!comparator.is_level()) status_ &= ~(u32{1} << index);
      schedule(index, false);
      return update_lines();
    case kTimerComparator:
      comparator.write_comparator(value);
      return schedule(index, true);
    case kTimerMessage:
      return comparator.write_message(value);
    default:
      return;
  }
}

void Hpet::write_config(u64 value) {
  const u64 count = counter();
  config_ = static_cast<u32>(value) & (kEnable | kLegacyReplacement);
  base_ = count;
  start_ = is_running() ? timers_.now() : Nanoseconds(0);
  schedule_all();
  update_lines();
}

void Hpet::schedule(unsigned index, bool includes_now) {
  alarms_[index].disarm();
  if (!is_running()) return;
  const u64 now = counter();
  const std::optional<u64> ticks = comparators_[index].distance(now, includes_now);
  if (!ticks) return;
  const u128 deadline = static_cast<u128>(static_cast<u64>(start_.count())) +
                        (static_cast<u128>(now - base_) + *ticks) * kTickNanoseconds;
  if (deadline < static_cast<u128>(kMaxStateTime))
    alarms_[index].arm(Nanoseconds(static_cast<i64>(deadline)));
}

void Hpet::schedule_all() {
  for (unsigned i = 0; i < kTimers; ++i) schedule(i, false);
}

// Matches that are due but not yet fired happened before the access at hand.
void Hpet::run_due() {
  const Nanoseconds now = timers_.now();
  for (unsigned i = 0; i < kTimers; ++i) {
    if (alarms_[i].deadline() <= now) expire(i);
  }
}

void Hpet::expire(unsigned index) {
  HpetComparator& comparator = comparators_[index];
  comparator.advance(counter());
  schedule(index, false);
  if (comparator.is_level()) {
    status_ |= u32{1} << index;
    return update_lines();
  }
  if (!comparator.is_interrupt_enabled()) return;
  if (comparator.is_message()) {
    const u64 message = comparator.message();
    return wiring_.messages.send(message >> 32, static_cast<u32>(message));
  }
  if (InterruptLine* line = line_of(index)) line->pulse();
}

// Where a timer's interrupt goes by wire; nowhere until the guest routed it.
InterruptLine* Hpet::line_of(unsigned index) {
  if (comparators_[index].is_message()) return nullptr;
  if (replaces_legacy() && index == 0) return &wiring_.isa0;
  if (replaces_legacy() && index == 1) return &wiring_.isa8;
  return comparators_[index].route() == HpetComparator::kInput ? &wiring_.input : nullptr;
}

void Hpet::update_lines() {
  std::array<InterruptLine*, kTimers> raised = {};
  for (unsigned i = 0; i < kTimers; ++i) {
    if (bit(status_, i) && comparators_[i].is_interrupt_enabled()) raised[i] = line_of(i);
  }
  const auto is_raised = [&raised](InterruptLine& line) {
    return std::ranges::find(raised, &line) != raised.end();
  };
  wiring_.isa0.set_level(replaces_legacy() ? is_raised(wiring_.isa0) : pit_input_.is_high);
  wiring_.isa8.set_level(replaces_legacy() ? is_raised(wiring_.isa8) : rtc_input_.is_high);
  wiring_.input.set_level(is_raised(wiring_.input));
}

void Hpet::visit_state(StateVisitor& visitor) {
  visitor.begin(name());
  visitor.field("config", config_);
  visitor.field("status", status_);
  visitor.field("base", base_);
  visit_time(visitor, "start", start_);
  visitor.field("pit_level", pit_input_.is_high);
  visitor.field("rtc_level", rtc_input_.is_high);
  comparators_[0].visit_state(visitor, "timer0");
  comparators_[1].visit_state(visitor, "timer1");
  comparators_[2].visit_state(visitor, "timer2");
  for (Timer& alarm : alarms_) visit_timer(visitor, "deadline", alarm);
  visitor.end();
  if (!visitor.is_loading()) return;
  config_ &= kEnable | kLegacyReplacement;
  status_ &= kStatusMask;
  start_ = std::max(start_, Nanoseconds(0));
  update_lines();
}

}  // namespace doppel
