// No outcome that x86 forbids, on either engine; the one reordering it allows shows that the test would see
// it.
#include <gtest/gtest.h>

#include "tests/litmus/ring.h"

namespace doppel::litmus {
namespace {

using namespace std::chrono_literals;

constexpr u64 kExperiments = 2'000'000;

struct Case {
  const Program* program;
  bool translates;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Program& program : programs()) {
    all.push_back({&program, false});
    all.push_back({&program, true});
  }
  return all;
}

class Litmus : public testing::TestWithParam<Case> {};

TEST_P(Litmus, ForbiddenOutcomeNeverComes) {
  const Program& program = *GetParam().program;
  const auto ring = *Ring::create(static_cast<unsigned>(program.processors.size()), GetParam().translates);
  const Tally tally = ring->run(program, kExperiments, 1000ms);
  RecordProperty("experiments", std::to_string(tally.experiments));
  std::printf("%llu experiments, %llu unusual\n", static_cast<unsigned long long>(tally.experiments),
              static_cast<unsigned long long>(tally.unusual));
  EXPECT_GT(tally.experiments, 0u);
  if (program.is_forbidden) {
    EXPECT_EQ(tally.unusual, 0u);
  } else if (tally.unusual == 0) {
    GTEST_SKIP() << "this host did not reorder a load with an older store in " << tally.experiments
                 << " experiments: the other programs could not have seen a missing barrier";
  }
}

INSTANTIATE_TEST_SUITE_P(AllPrograms, Litmus, testing::ValuesIn(cases()), [](const auto& info) {
  return info.param.program->name + (info.param.translates ? "_jit" : "_interp");
});

}  // namespace
}  // namespace doppel::litmus
