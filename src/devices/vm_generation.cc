// Contents of the generation and clock pages.
#include "devices/vm_generation.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>

#include "base/verify.h"
#include "devices/port_map.h"

namespace doppel {
namespace {

constexpr u64 kNanosecondsPerSecond = 1'000'000'000;

struct ClockPage {
  u32 magic;
  u32 size;
  u16 version;
  u8 counter;
  u8 time_type;
  u32 sequence;  // odd while the fields below change
  u64 disruption_marker;
  u64 flags;
  std::array<u8, 2> padding;
  u8 status;
  u8 smearing_hint;
  i16 tai_offset;
  u8 leap_indicator;
  u8 period_shift;
  u64 counter_value;  // at the time below
  u64 period;         // of the counter, in 2^-(64 + period_shift) seconds
  u64 period_error;
  u64 period_error_limit;
  u64 seconds;
  u64 fraction;  // 2^-64 seconds
  u64 time_error;
  u64 time_error_limit;
  u64 generation;
};
static_assert(sizeof(ClockPage) == 112 && offsetof(ClockPage, sequence) == 12);

constexpr u32 kMagic = 0x4b4c4356;  // "VCLK"
constexpr u16 kVersion = 1;
constexpr u8 kTimeStampCounter = 1;
constexpr u8 kUtc = 0;
constexpr u64 kHasGeneration = 1 << 8;
constexpr u8 kFreeRunning = 3;  // the host's clock may be disciplined, the counter is not

// value / divisor as a fraction of 2^64; value < divisor.
u64 fraction_of(u64 value, u64 divisor) { return static_cast<u64>((u128{value} << 64) / divisor); }

void fill_time(ClockPage& page, Inputs& inputs) {
  const u64 hertz = inputs.tsc_hz();
  VERIFY(hertz != 0);
  // As many significant bits as fit: 2^63 and more.
  page.period_shift = static_cast<u8>(std::bit_width(hertz) - 1);
  const u128 period = (u128{1} << (64 + page.period_shift)) / hertz;
  page.period = static_cast<u64>(std::min<u128>(period, ~u64{0}));
  page.counter_value = inputs.tsc();
  const auto now = static_cast<u64>(inputs.now().count());
  page.seconds = inputs.boot_wall_clock_seconds() + now / kNanosecondsPerSecond;
  page.fraction = fraction_of(now % kNanosecondsPerSecond, kNanosecondsPerSecond);
}

}  // namespace

VmGeneration::VmGeneration(GuestMemory& memory, Inputs& inputs, GuestPhys pages)
    : memory_(memory), inputs_(inputs), pages_(pages) {
  VERIFY(memory.is_ram(pages, 2 * kPageSize));
}

void VmGeneration::install() {
  write_identifier();
  write_clock();
}

void VmGeneration::change(GeneralEvents& events) {
  install();
  events.raise_general_event(kGpeGeneration);
  events.raise_general_event(kGpeClock);
}

void VmGeneration::write_identifier() {
  std::array<u8, 16> identifier = {};
  inputs_.entropy(identifier);
  memory_.write(identifier_page(), identifier);
}

// The guest may change the page at will; only the sequence is taken from it, and any value will do.
void VmGeneration::write_clock() {
  const GuestPhys sequence_at = clock_page() + offsetof(ClockPage, sequence);
  const u32 sequence = memory_.read_value<u32>(sequence_at).value_or(0) | 1;
  ClockPage page = {};
  page.magic = kMagic;
  page.size = kPageSize;
  page.version = kVersion;
  page.counter = kTimeStampCounter;
  page.time_type = kUtc;
  page.sequence = sequence;
  page.flags = kHasGeneration;
  page.status = kFreeRunning;
  fill_time(page, inputs_);
  std::array<u64, 2> markers = {};
  inputs_.entropy({reinterpret_cast<u8*>(markers.data()), sizeof(markers)});
  page.disruption_marker = markers[0];
  page.generation = markers[1];
  memory_.write_value(sequence_at, sequence);
  std::atomic_thread_fence(std::memory_order_release);
  memory_.write_value(clock_page(), page);
  std::atomic_thread_fence(std::memory_order_release);
  memory_.write_value(sequence_at, sequence + 1);
}

}  // namespace doppel
