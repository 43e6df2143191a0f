// Thousands of random machine states: none may end or hang the machine monitor.
#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>
#include <random>

#include "tests/hostile/hostile_machine.h"

namespace doppel::hostile {
namespace {

constexpr u64 kFixedSeed = 0x5eed;
constexpr u64 kInstructions = 2'000;

// As many states as fit in the time; the last seed printed is the one to run again.
void run_states(u64 seed, unsigned states, std::time_t seconds) {
  const std::time_t end = std::time(nullptr) + seconds;
  unsigned done = 0;
  for (; done < states && std::time(nullptr) < end; ++done) {
    HostileMachine guest;
    Choices choices(seed + done);
    testing::Test::RecordProperty("seed", std::to_string(seed + done));
    guest.run_random(choices, kInstructions);
    guest.check_state_survives();
  }
  std::printf("%u states from seed %#llx\n", done, static_cast<unsigned long long>(seed));
  EXPECT_GT(done, 0u);
}

TEST(RandomStates, FixedSeedNeverEndsTheMonitor) { run_states(kFixedSeed, 3'000, 25); }

TEST(RandomStates, FreshSeedNeverEndsTheMonitor) {
  const u64 seed = u64{std::random_device()()} << 16;
  std::printf("fresh seed %#llx\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  run_states(seed, 3'000, 15);
}

}  // namespace
}  // namespace doppel::hostile
