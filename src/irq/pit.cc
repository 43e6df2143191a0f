// 8254 ports, the interrupt timer and port 61h.
#include "irq/pit.h"

#include <algorithm>

#include "irq/timer_state.h"

namespace doppel {
namespace {

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;

// Rises closer together than these ticks (10 microseconds) are merged, so that a guest cannot make the
// machine do nothing but fire timers.
constexpr u64 kMinSpacing = 12;

constexpr u8 kReadBackNoCount = 0x20;
constexpr u8 kReadBackNoStatus = 0x10;

constexpr u8 kPortGate = 0x01;
constexpr u8 kPortWritable = 0x0e;
constexpr u8 kPortRefresh = 0x10;
constexpr u8 kPortOutput = 0x20;

// Channel 1 of a PC refreshes DRAM every 18 ticks of the input clock.
constexpr i64 kRefreshNanoseconds = 15'085;

}  // namespace

Pit::Pit(TimerQueue& timers, InterruptLine& interrupt)
    : timers_(timers), interrupt_(interrupt), timer_(timers, [this] { tick(); }) {
  channels_[2].reset(false);
}

void Pit::reset() {
  for (unsigned i = 0; i < 3; ++i) channels_[i].reset(i != 2);
  update();
}

u64 Pit::now_ticks() {
  const u128 now = static_cast<u64>(std::max(timers_.now(), Nanoseconds(0)).count());
  return static_cast<u64>(now * kHertz / kNanosecondsPerSecond);
}

// Arms for channel 0's next rise after `after`. Each deadline comes from the tick it stands for: no drift.
void Pit::arm(u64 after) {
  const u64 rise = channels_[0].next_rise(after);
  if (rise == PitChannel::kNever) {
    timer_.disarm();
    return;
  }
  const u128 time = (u128{rise} * kNanosecondsPerSecond + kHertz - 1) / kHertz;
  timer_.arm(Nanoseconds(static_cast<i64>(std::min<u128>(time, kMaxStateTime))));
}

// A rise of channel 0. The low part before it can be a single tick: the edge is shown here.
void Pit::tick() {
  interrupt_.set_level(false);
  interrupt_.set_level(true);
  const u64 now = now_ticks();
  interrupt_.set_level(channels_[0].output(now));
  arm(now + kMinSpacing);
}

// Channel 0 was programmed.
void Pit::update() {
  const u64 now = now_ticks();
  interrupt_.set_level(channels_[0].output(now));
  arm(now);
}

void Pit::set_speaker_gate(bool is_high) { channels_[2].set_gate(now_ticks(), is_high); }
bool Pit::speaker_output() { return channels_[2].output(now_ticks()); }

u8 Pit::read_byte(u64 offset) { return offset < 3 ? channels_[offset].read(now_ticks()) : 0xff; }

void Pit::write_byte(u64 offset, u8 value) {
  // A rise that is due but not yet fired happened before this write.
  if (timer_.deadline() <= timers_.now()) tick();
  if (offset == 3) {
    write_control(value);
  } else {
    channels_[offset].write(now_ticks(), value);
  }
  if (offset == 0 || offset == 3) update();
}

void Pit::write_control(u8 value) {
  const unsigned index = value >> 6;
  if (index == 3) {
    read_back(value);
  } else if ((value & 0x30) == 0) {
    channels_[index].latch_count(now_ticks());
  } else {
    channels_[index].write_control(value);
  }
}

void Pit::read_back(u8 value) {
  const u64 now = now_ticks();
  for (unsigned i = 0; i < 3; ++i) {
    if (!bit(value, i + 1)) continue;
    if ((value & kReadBackNoCount) == 0) channels_[i].latch_count(now);
    if ((value & kReadBackNoStatus) == 0) channels_[i].latch_status(now);
  }
}

void Pit::visit_state(StateVisitor& visitor) {
  visitor.begin("pit");
  channels_[0].visit_state(visitor, "channel0");
  channels_[1].visit_state(visitor, "channel1");
  channels_[2].visit_state(visitor, "channel2");
  visit_timer(visitor, "deadline", timer_);
  visitor.end();
}

void SystemControlPort::reset() {
  control_ = 0;
  pit_.set_speaker_gate(false);
}

u8 SystemControlPort::read_byte(u64) {
  u8 value = control_;
  if (pit_.speaker_gate()) value |= kPortGate;
  if ((timers_.now().count() / kRefreshNanoseconds) % 2 != 0) value |= kPortRefresh;
  if (pit_.speaker_output()) value |= kPortOutput;
  return value;
}

void SystemControlPort::write_byte(u64, u8 value) {
  control_ = value & kPortWritable;
  pit_.set_speaker_gate((value & kPortGate) != 0);
}

void SystemControlPort::visit_state(StateVisitor& visitor) {
  visitor.begin("system_control_port");
  visitor.field("control", control_);
  visitor.end();
  if (visitor.is_loading()) control_ &= kPortWritable;
}

}  // namespace doppel
