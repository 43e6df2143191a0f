// Which engine a request leads to.
#include "machine/engine_choice.h"

#include <gtest/gtest.h>

#include "base/host_inputs.h"

namespace doppel {
namespace {

Result<EnginePlan> plan_of(const EngineRequest& request) {
  HostInputs inputs;
  return plan_engines(request, inputs);
}

x86::FeatureSet host_without(x86::Feature feature) {
  x86::FeatureSet host = x86::host_features();
  host.remove(feature);
  return host;
}

// The clock of instructions keeps KVM out, whatever this host has.
EngineRequest counted(EngineChoice choice, const x86::FeatureSet& host = x86::host_features()) {
  return {.choice = choice, .counts_instructions = true, .cpu_template = "x86-64-v2", .host = host};
}

TEST(EngineChoice, KnowsItsNames) {
  EXPECT_EQ(*parse_engine("auto"), EngineChoice::kAuto);
  EXPECT_EQ(*parse_engine("jit"), EngineChoice::kJit);
  EXPECT_FALSE(parse_engine("translator"));
}

TEST(EngineChoice, TheTranslatorCountsInstructionsWhenNothingElseIsAsked) {
  EXPECT_EQ(plan_of(counted(EngineChoice::kAuto))->first, Engine::kJit);
  EXPECT_EQ(plan_of(counted(EngineChoice::kJit))->first, Engine::kJit);
  EXPECT_EQ(plan_of(counted(EngineChoice::kInterp))->first, Engine::kInterp);
}

TEST(EngineChoice, TheInterpreterStandsInWhereTheProcessorIsTooOld) {
  const Result<EnginePlan> plan = plan_of(counted(EngineChoice::kAuto, host_without(x86::Feature::kBmi2)));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->first, Engine::kInterp);
  EXPECT_FALSE(plan->has_translator);
}

TEST(EngineChoice, ATranslatorThatWasAskedForAndCannotWorkIsAnError) {
  const Result<EnginePlan> plan = plan_of(counted(EngineChoice::kJit, host_without(x86::Feature::kAvx)));
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().message, "engine jit: this host's processor has no AVX; use --engine interp");
}

TEST(EngineChoice, KvmDoesNotCount) {
  const Result<EnginePlan> plan = plan_of(counted(EngineChoice::kKvm));
  ASSERT_FALSE(plan);
  EXPECT_TRUE(plan.error().is_usage);
}

TEST(EngineChoice, KvmIsTakenByItselfOnlyWhereItIsHardware) {
  HostInputs inputs;
  const Result<kvm::KvmDevice> device = kvm::KvmDevice::open();
  if (!device) GTEST_SKIP() << device.error().message;
  const EngineRequest request{.choice = EngineChoice::kAuto, .cpu_template = "host"};
  EXPECT_EQ(plan_of(request)->first, device->is_real(inputs) ? Engine::kKvm : Engine::kJit);
}

}  // namespace
}  // namespace doppel
