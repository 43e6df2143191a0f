// What every row of the registry promises: reset, hostile accesses, and state that survives a round trip.
#include <gtest/gtest.h>

#include <bitset>
#include <random>
#include <tuple>

#include "devices/device_fakes.h"
#include "devices/registry.h"
#include "state/state_buffer.h"
#include "state/state_digest.h"

namespace doppel {

// Names the row in failure messages.
inline void PrintTo(const DeviceRow& row, std::ostream* out) { *out << row.name; }

namespace {

constexpr unsigned kAccesses = 20'000;
constexpr unsigned kRoundTrips = 400;
constexpr unsigned kAccessesBetweenRoundTrips = 50;
constexpr u64 kFixedSeed = 0x5eed;

// One device with a world of its own.
class Bench {
 public:
  explicit Bench(const DeviceRow& row) : parts_(make_device(row, environment_)) {}

  // One random access, time step or outside event; the answer of a read, otherwise 0.
  u64 step(std::mt19937_64& random) {
    const u64 kind = random() % 16;
    if (kind == 0) return pass_time(random());
    if (kind == 1) return disturb(random());
    const MappedRange& range = parts_.ranges[random() % parts_.ranges.size()];
    const u64 size = std::min<u64>(u64{1} << (random() % 4), range.size);
    const u64 offset = random() % (range.size - size + 1);
    if (kind < 8) return read_from(*range.device, offset, size);
    write_to(*range.device, offset, random(), size);
    return 0;
  }

  u64 digest() {
    StateHasher hasher;
    parts_.component->visit_state(hasher);
    return hasher.digest();
  }
  std::vector<u8> save() {
    StateSaver saver;
    parts_.component->visit_state(saver);
    return saver.take();
  }
  Result<void> load(std::span<const u8> state) {
    StateLoader loader(state);
    parts_.component->visit_state(loader);
    return loader.finish();
  }
  void set_now(Nanoseconds now) { inputs_.set_now(now); }
  Nanoseconds now() { return inputs_.now(); }
  Component& component() { return *parts_.component; }
  std::bitset<16> levels() const {
    std::bitset<16> levels;
    for (std::size_t i = 0; i < lines_.size(); ++i) levels[i] = lines_[i].is_high();
    return levels;
  }

 private:
  u64 pass_time(u64 amount) {
    // From nothing to 18 minutes, short times as likely as long ones.
    inputs_.advance(timers_, Nanoseconds((amount >> 24) >> (amount % 40)));
    return 0;
  }
  u64 disturb(u64 value) {
    if (parts_.power_button != nullptr) parts_.power_button->press_power_button();
    if (parts_.general_events != nullptr) parts_.general_events->raise_general_event(value % 16);
    if (parts_.console_input == nullptr) return 0;
    if (value % 4 == 0) return parts_.console_input->receive_break();
    return parts_.console_input->receive(static_cast<u8>(value));
  }

  FakeInputs inputs_;
  TimerQueue timers_{inputs_};
  FakeMachine machine_;
  FakeSink console_;
  std::array<FakeLine, 16> lines_;
  DeviceEnvironment environment_{
      .timers = timers_,
      .machine = machine_,
      .console = console_,
      .isa_irq = [this](unsigned irq) -> InterruptLine& { return lines_[irq]; },
  };
  DeviceParts parts_;
};

void hammer(Bench& bench, u64 seed, unsigned accesses) {
  std::mt19937_64 random(seed);
  for (unsigned i = 0; i < accesses; ++i) bench.step(random);
}

// What a guest sees during some more accesses: answers and interrupt levels.
std::vector<u64> answers(Bench& bench, u64 seed) {
  std::mt19937_64 random(seed);
  std::vector<u64> result;
  for (unsigned i = 0; i < 2 * kAccessesBetweenRoundTrips; ++i) {
    result.push_back(bench.step(random));
    result.push_back(bench.levels().to_ullong());
  }
  return result;
}

class DeviceConformance : public testing::TestWithParam<DeviceRow> {};

TEST_P(DeviceConformance, NamesItselfLikeItsRow) {
  Bench bench(GetParam());
  EXPECT_EQ(bench.component().name(), GetParam().name);
}

TEST_P(DeviceConformance, IsMadeInResetState) {
  Bench bench(GetParam());
  const u64 made = bench.digest();
  bench.component().reset();
  EXPECT_EQ(bench.digest(), made);
}

TEST_P(DeviceConformance, ResetForgetsEverything) {
  Bench bench(GetParam());
  const u64 made = bench.digest();
  hammer(bench, kFixedSeed, kAccesses);
  bench.set_now(Nanoseconds(0));
  bench.component().reset();
  EXPECT_EQ(bench.digest(), made);
  bench.component().reset();
  EXPECT_EQ(bench.digest(), made);
}

TEST_P(DeviceConformance, ResetReleasesInterruptLines) {
  Bench bench(GetParam());
  hammer(bench, kFixedSeed, kAccesses);
  bench.component().reset();
  EXPECT_TRUE(bench.levels().none());
}

TEST_P(DeviceConformance, SurvivesAFreshRandomGuest) {
  // Fresh in every run with --gtest_shuffle; --gtest_random_seed repeats one.
  const auto seed = static_cast<u64>(testing::UnitTest::GetInstance()->random_seed());
  RecordProperty("seed", std::to_string(seed));
  fmt::print("seed {}\n", seed);
  Bench bench(GetParam());
  hammer(bench, seed, kAccesses);
}

TEST_P(DeviceConformance, StateSurvivesARoundTrip) {
  Bench original(GetParam());
  for (unsigned round = 0; round < kRoundTrips; ++round) {
    hammer(original, round, kAccessesBetweenRoundTrips);
    Bench copy(GetParam());
    copy.set_now(original.now());
    const Result<void> loaded = copy.load(original.save());
    ASSERT_TRUE(loaded) << loaded.error().message;
    ASSERT_EQ(copy.digest(), original.digest());
    ASSERT_EQ(copy.levels(), original.levels());
    ASSERT_EQ(answers(copy, ~round), answers(original, ~round)) << "round " << round;
    ASSERT_EQ(copy.digest(), original.digest());
  }
}

TEST_P(DeviceConformance, SurvivesDamagedState) {
  Bench original(GetParam());
  hammer(original, kFixedSeed, kAccesses);
  const std::vector<u8> state = original.save();
  std::mt19937_64 random(kFixedSeed);
  for (unsigned i = 0; i < 500; ++i) {
    std::vector<u8> damaged = state;
    damaged[random() % damaged.size()] = static_cast<u8>(random());
    Bench copy(GetParam());
    std::ignore = copy.load(damaged);  // refused or not, the device must stay usable
    hammer(copy, i, 100);
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, DeviceConformance,
                         testing::ValuesIn(device_rows().begin(), device_rows().end()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace doppel
