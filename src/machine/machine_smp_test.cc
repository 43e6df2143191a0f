// Machines with several vCPUs: start, counting, saved states, pauses.
#include <gtest/gtest.h>

#include <thread>

#include "machine/machine_bench.h"

namespace doppel {
namespace {

using namespace machine_test;

// A boot sector: starts the other CPUs by INIT and start-up messages to all; each CPU increments a counter
// 20,000 times by locked instructions; the first one waits for four to be done and exits with 0 when nothing
// was lost.
constexpr auto kCountingGuest = std::to_array<u8>({
    0xfa,                                // cli
    0x31, 0xc0,                          // xor ax, ax
    0x8e, 0xd8,                          // mov ds, ax
    0x8e, 0xc0,                          // mov es, ax
    0xbe, 0x5d, 0x7c,                    // mov si, other
    0xbf, 0x00, 0x80,                    // mov di, 8000h
    0xb9, 0x18, 0x00,                    // mov cx, end - other
    0xf3, 0xa4,                          // rep movsb
    0x66, 0xb9, 0x1b, 0x00, 0x00, 0x00,  // mov ecx, 1bh: IA32_APIC_BASE
    0x0f, 0x32,                          // rdmsr
    0x0d, 0x00, 0x0c,                    // or ax, 0c00h: x2APIC
    0x0f, 0x30,                          // wrmsr
    0x66, 0xb9, 0x30, 0x08, 0x00, 0x00,  // mov ecx, 830h: interrupt command
    0x66, 0x31, 0xd2,                    // xor edx, edx
    0x66, 0xb8, 0x00, 0x45, 0x0c, 0x00,  // mov eax, 0c4500h: INIT to all but self
    0x0f, 0x30,                          // wrmsr
    0x66, 0xb8, 0x08, 0x46, 0x0c, 0x00,  // mov eax, 0c4608h: start at 8000h
    0x0f, 0x30,                          // wrmsr
    0xb9, 0x20, 0x4e,                    // mov cx, 20000
    0xf0, 0x66, 0xff, 0x06, 0x00, 0x05,  // work: lock inc dword [500h]
    0xe2, 0xf8,                          // loop work
    0xf0, 0xfe, 0x06, 0x04, 0x05,        // lock inc byte [504h]
    0xf3, 0x90,                          // all: pause
    0x80, 0x3e, 0x04, 0x05, 0x04,        // cmp byte [504h], 4
    0x75, 0xf7,                          // jne all
    0x66, 0xa1, 0x00, 0x05,              // mov eax, [500h]
    0x66, 0x2d, 0x80, 0x38, 0x01, 0x00,  // sub eax, 80000
    0xe6, 0xf4,                          // out 0f4h, al
    0x31, 0xc0,                          // other: xor ax, ax
    0x8e, 0xd8,                          // mov ds, ax
    0xb9, 0x20, 0x4e,                    // mov cx, 20000
    0xf0, 0x66, 0xff, 0x06, 0x00, 0x05,  // count: lock inc dword [500h]
    0xe2, 0xf8,                          // loop count
    0xf0, 0xfe, 0x06, 0x04, 0x05,        // lock inc byte [504h]
    0xfa,                                // cli
    0xf4,                                // rest: hlt
    0xeb, 0xfd,                          // jmp rest
});
constexpr auto kForeverGuest = std::to_array<u8>({0xeb, 0xfe});  // jmp to itself
constexpr u64 kNoLimit = ~u64{0};

MachineConfig four_cpus(ClockSource clock) {
  MachineConfig config = config_of({}, 4);
  config.clock = clock;
  return config;
}

void expect_counted(const RunResult& result) {
  EXPECT_EQ(result.end, RunEnd::kDebugExit);
  EXPECT_EQ(result.debug_exit_status, 1);
}

class FourCpus : public testing::TestWithParam<u64> {};

TEST_P(FourCpus, ContinueAlikeInAnotherMachine) {
  const auto original = boot_sector(kCountingGuest, four_cpus(ClockSource::kInstructions));
  original->machine->run(GetParam());
  const auto copy = copy_of(*original, four_cpus(ClockSource::kInstructions));
  expect_same_state(*original, *copy);
  expect_counted(original->machine->run(kNoLimit));
  expect_counted(copy->machine->run(kNoLimit));
  expect_same_state(*original, *copy);
}

TEST_P(FourCpus, AStopOnTheWayChangesNothing) {
  const auto straight = boot_sector(kCountingGuest, four_cpus(ClockSource::kInstructions));
  const auto halting = boot_sector(kCountingGuest, four_cpus(ClockSource::kInstructions));
  straight->machine->run(GetParam() + 70'001);
  halting->machine->run(GetParam());
  EXPECT_EQ(halting->machine->run(70'001).end, RunEnd::kInstructionLimit);
  expect_same_state(*straight, *halting);
}

// Before anything, between the messages, in the first turns, after some have halted.
INSTANTIATE_TEST_SUITE_P(Instructions, FourCpus,
                         testing::Values(0, 20, 38, 40, 20'000, 20'017, 61'000, 80'000, 90'003));

TEST(MachineSmp, NoLockedIncrementIsLost) {
  const auto bench = boot_sector(kCountingGuest, four_cpus(ClockSource::kHost));
  expect_counted(bench->machine->run(kNoLimit));
}

TEST(MachineSmp, AStateOfRunningThreadsContinuesInAnotherMachine) {
  MachineConfig config = four_cpus(ClockSource::kHost);
  config.counts_instructions = true;
  const auto original = boot_sector(kCountingGuest, config);
  ASSERT_EQ(original->machine->run(70'000).end, RunEnd::kInstructionLimit);
  const auto copy = copy_of(*original, four_cpus(ClockSource::kHost));
  expect_counted(copy->machine->run(kNoLimit));
}

TEST(MachineSmp, AStateOfAnotherNumberOfCpusIsRefused) {
  const auto original = boot_sector(kCountingGuest, four_cpus(ClockSource::kInstructions));
  const auto copy = empty(config_of({}, 3));
  EXPECT_FALSE(load(*copy, save(*original)));
}

TEST(MachineSmp, HasOneToSixtyFourCpus) {
  Collector console;
  EXPECT_TRUE(Machine::create_empty(config_of({}, 64), console));
  EXPECT_FALSE(Machine::create_empty(config_of({}, 65), console));
  EXPECT_FALSE(Machine::create_empty(config_of({}, 0), console));
}

TEST(MachineSmp, RefusesHostCpusThatDoNotExist) {
  Collector console;
  MachineConfig config = config_of({});
  config.host_cpus = {1023};
  const auto machine = Machine::create_empty(config, console);
  ASSERT_FALSE(machine);
  EXPECT_TRUE(machine.error().is_usage);
}

TEST(MachineSmp, StandsStillWhilePaused) {
  const auto bench = boot_sector(kForeverGuest, four_cpus(ClockSource::kHost));
  Machine& machine = *bench->machine;
  std::thread runner([&] { EXPECT_EQ(machine.run(kNoLimit).end, RunEnd::kQuit); });
  for (u64 seen = 0; seen == 0;) {
    machine.pause();
    seen = machine.vcpu(0).instructions_retired();
    machine.resume();
  }
  machine.pause();
  const u64 hash = machine.state_hash();
  const u64 retired = machine.vcpu(0).instructions_retired();
  for (unsigned i = 0; i < 1000; ++i) std::this_thread::yield();
  EXPECT_EQ(machine.vcpu(0).instructions_retired(), retired);
  EXPECT_EQ(machine.state_hash(), hash);
  machine.resume();
  for (u64 seen = retired; seen == retired;) {
    machine.pause();
    seen = machine.vcpu(0).instructions_retired();
    machine.resume();
  }
  machine.request_quit();
  runner.join();
}

TEST(MachineSmp, QuitsWhilePaused) {
  const auto bench = boot_sector(kForeverGuest, four_cpus(ClockSource::kHost));
  Machine& machine = *bench->machine;
  machine.pause();
  std::thread runner([&] { EXPECT_EQ(machine.run(kNoLimit).end, RunEnd::kQuit); });
  machine.request_quit();
  machine.resume();
  runner.join();
}

}  // namespace
}  // namespace doppel
