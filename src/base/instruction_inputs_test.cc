// Time and entropy of runs that repeat exactly.
#include "base/instruction_inputs.h"

#include <gtest/gtest.h>

#include <array>

namespace doppel {
namespace {

using namespace std::chrono_literals;

TEST(InstructionInputs, CountsOneNanosecondForEachInstruction) {
  u64 instructions = 0;
  InstructionInputs inputs;
  inputs.set_counter([&] { return instructions; });
  EXPECT_EQ(inputs.now(), 0ns);
  instructions = 1'000'000;
  EXPECT_EQ(inputs.now(), 1'000'000ns);
  EXPECT_EQ(inputs.tsc(), 1'000'000u);
  EXPECT_EQ(inputs.tsc_hz(), 1'000'000'000u);
}

TEST(InstructionInputs, StandsStillWithoutACounter) {
  InstructionInputs inputs;
  EXPECT_EQ(inputs.now(), 0ns);
}

TEST(InstructionInputs, SkipsToALaterTimeAndCountsOnFromThere) {
  u64 instructions = 100;
  InstructionInputs inputs;
  inputs.set_counter([&] { return instructions; });
  inputs.skip_to(5000ns);
  EXPECT_EQ(inputs.now(), 5000ns);
  instructions = 107;
  EXPECT_EQ(inputs.now(), 5007ns);
}

TEST(InstructionInputs, NeverSkipsBackwards) {
  InstructionInputs inputs;
  inputs.skip_to(5000ns);
  inputs.skip_to(4999ns);
  EXPECT_EQ(inputs.now(), 5000ns);
}

TEST(InstructionInputs, GivesTheSameEntropyInEveryRun) {
  InstructionInputs inputs;
  std::array<u8, 4> bytes = {};
  inputs.entropy(bytes);
  // Low bytes of the first four numbers of SplitMix64 seeded with 0.
  EXPECT_EQ(bytes, (std::array<u8, 4>{0xaf, 0xf4, 0x4f, 0xec}));
}

TEST(InstructionInputs, GivesTheSameEntropyHoweverItIsAskedFor) {
  InstructionInputs inputs;
  std::array<u8, 4> bytes = {};
  inputs.entropy(std::span(bytes).first(1));
  inputs.entropy(std::span(bytes).first(0));
  inputs.entropy(std::span(bytes).subspan(1, 3));
  EXPECT_EQ(bytes, (std::array<u8, 4>{0xaf, 0xf4, 0x4f, 0xec}));
}

TEST(InstructionInputs, BootsAtAFixedDate) {
  InstructionInputs inputs;
  EXPECT_EQ(inputs.boot_wall_clock_seconds(), 1'700'000'000u);
}

}  // namespace
}  // namespace doppel
