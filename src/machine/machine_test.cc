// Whole machines: saved states, exact instruction counts, and how a run ends.
#include "machine/machine.h"

#include <gtest/gtest.h>

#include <random>

#include "machine/machine_bench.h"

namespace doppel {
namespace {

using namespace machine_test;

// A boot sector: the timer interrupts every millisecond, its handler counts and prints; the rest of the time
// the guest counts and, in every other millisecond, halts.
constexpr auto kTimerGuest = std::to_array<u8>({
    0xfa,                                // cli
    0x31, 0xc0,                          // xor ax, ax
    0x8e, 0xd8,                          // mov ds, ax
    0x8e, 0xd0,                          // mov ss, ax
    0xbc, 0x00, 0x70,                    // mov sp, 7000h
    0xc7, 0x06, 0x20, 0x00, 0x43, 0x7c,  // mov word [20h], handler
    0xa3, 0x22, 0x00,                    // mov [22h], ax
    0xb0, 0x11, 0xe6, 0x20,              // PIC: edge, cascaded
    0xb0, 0x08, 0xe6, 0x21,              //   vectors from 8
    0xb0, 0x04, 0xe6, 0x21,              //   the second one at line 2
    0xb0, 0x01, 0xe6, 0x21,              //   8086 mode
    0xb0, 0xfe, 0xe6, 0x21,              //   only line 0 open
    0xb0, 0x34, 0xe6, 0x43,              // PIT: channel 0, rate generator
    0xb0, 0xa9, 0xe6, 0x40,              //   1193 ticks
    0xb0, 0x04, 0xe6, 0x40,              //
    0xfb,                                // sti
    0x66, 0xff, 0x06, 0x00, 0x05,        // work: inc dword [500h]
    0xf6, 0x06, 0x04, 0x05, 0x01,        // test byte [504h], 1
    0x74, 0xf4,                          // jz work
    0xf4,                                // hlt
    0xeb, 0xf1,                          // jmp work
    0x50, 0x52,                          // handler: push ax; push dx
    0xff, 0x06, 0x04, 0x05,              // inc word [504h]
    0xa0, 0x04, 0x05,                    // mov al, [504h]
    0xba, 0xf8, 0x03, 0xee,              // out COM1, al
    0xb0, 0x20, 0xe6, 0x20,              // end of interrupt
    0x5a, 0x58, 0xcf,                    // pop dx; pop ax; iret
});
constexpr auto kHaltGuest = std::to_array<u8>({0xfa, 0xf4});  // cli; hlt
// lidt [7c07h]; ud2: an interrupt table of no bytes
constexpr auto kTripleFaultGuest =
    std::to_array<u8>({0x0f, 0x01, 0x1e, 0x07, 0x7c, 0x0f, 0x0b, 0, 0, 0, 0, 0, 0});
constexpr auto kForeverGuest = std::to_array<u8>({0xeb, 0xfe});                // jmp to itself
constexpr auto kDebugExitGuest = std::to_array<u8>({0xb0, 0x15, 0xe6, 0xf4});  // mov al, 15h; out f4h, al

class MachineState : public testing::TestWithParam<u64> {};

TEST_P(MachineState, ContinuesAlikeInAnotherMachine) {
  const auto original = boot_sector(kTimerGuest);
  original->machine->run(GetParam());
  const auto copy = copy_of(*original, config_of({}));
  expect_same_state(*original, *copy);
  const std::size_t printed = original->console.text().size();
  EXPECT_EQ(original->machine->run(2'100'001).end, RunEnd::kInstructionLimit);
  EXPECT_EQ(copy->machine->run(2'100'001).end, RunEnd::kInstructionLimit);
  expect_same_state(*original, *copy);
  EXPECT_EQ(original->console.text().substr(printed), copy->console.text());
  EXPECT_FALSE(copy->console.text().empty());
}

TEST_P(MachineState, AStopOnTheWayChangesNothing) {
  const auto straight = boot_sector(kTimerGuest);
  const auto halting = boot_sector(kTimerGuest);
  straight->machine->run(GetParam() + 1'300'000);
  halting->machine->run(GetParam());
  halting->machine->run(1'300'000);
  expect_same_state(*straight, *halting);
}

// Before the first instruction, in the start, around the first interrupts, long after them.
INSTANTIATE_TEST_SUITE_P(Instructions, MachineState,
                         testing::Values(0, 1, 17, 28, 999'990, 1'000'003, 1'234'567, 3'000'000));

TEST(Machine, ConsoleInputIsPartOfTheState) {
  const auto original = boot_sector(kForeverGuest);
  const std::array<u8, 40> typed = {'d', 'o', 'p', 'p', 'e', 'l'};
  EXPECT_EQ(original->machine->console_input(typed), typed.size());
  const auto copy = copy_of(*original, config_of({}));
  original->machine->run(1000);
  copy->machine->run(1000);
  expect_same_state(*original, *copy);
}

TEST(Machine, ConsoleInputThatNobodyReadsIsRefused) {
  const auto bench = boot_sector(kForeverGuest);
  const std::vector<u8> typed(1 << 20);
  EXPECT_LT(bench->machine->console_input(typed), typed.size());
  EXPECT_EQ(bench->machine->console_input(typed), 0u);
}

TEST(Machine, DamagedStatesDoNoHarm) {
  const auto original = boot_sector(kTimerGuest);
  original->machine->run(1'000'100);
  const std::vector<u8> state = save(*original);
  std::mt19937_64 random(static_cast<u64>(testing::UnitTest::GetInstance()->random_seed()));
  for (unsigned i = 0; i < 200; ++i) {
    std::vector<u8> damaged = state;
    damaged[random() % damaged.size()] = static_cast<u8>(random());
    const auto copy = empty(config_of({}));
    if (load(*copy, damaged)) copy->machine->run(2000, WhenHalted::kReturn);
  }
}

TEST(Machine, CutStatesAreRefused) {
  const auto original = boot_sector(kTimerGuest);
  const std::vector<u8> state = save(*original);
  const auto copy = empty(config_of({}));
  EXPECT_FALSE(load(*copy, std::span(state).first(state.size() - 1)));
}

TEST(Machine, StatesOfAnotherMemorySizeAreRefused) {
  const auto original = boot_sector(kTimerGuest);
  MachineConfig config = config_of({});
  config.memory_bytes = 8 * kMiB;
  const auto copy = empty(config);
  EXPECT_FALSE(load(*copy, save(*original)));
}

TEST(Machine, EndsWhereNothingCanWakeIt) {
  const auto bench = boot_sector(kHaltGuest);
  EXPECT_EQ(bench->machine->run(1'000'000).end, RunEnd::kHalted);
}

TEST(Machine, TripleFaultEndsTheRun) {
  const auto bench = boot_sector(kTripleFaultGuest);
  EXPECT_EQ(bench->machine->run(1'000'000).end, RunEnd::kTripleFault);
}

TEST(Machine, DebugExitCarriesTheValue) {
  const auto bench = boot_sector(kDebugExitGuest);
  const RunResult result = bench->machine->run(1'000'000);
  EXPECT_EQ(result.end, RunEnd::kDebugExit);
  EXPECT_EQ(result.debug_exit_status, 0x2b);
}

TEST(Machine, QuitsWhenAsked) {
  const auto bench = boot_sector(kForeverGuest);
  bench->machine->request_quit();
  EXPECT_EQ(bench->machine->run(~u64{0}).end, RunEnd::kQuit);
}

// The Debian kernel, in the middle of its start.
TEST(Machine, LinuxContinuesAlikeInAnotherMachine) {
  const std::string folder = DOPPEL_GUEST_FOLDER;
  if (!std::filesystem::exists(folder + "/vmlinuz")) GTEST_SKIP() << "no guest kernel; run tools/build-guest";
  MachineConfig config = config_of(folder + "/vmlinuz");
  config.memory_bytes = 256 * kMiB;
  config.boot.initrd_path = folder + "/initrd.img";
  config.boot.command_line = "console=ttyS0";
  const auto original = boot(config);
  original->machine->run(DOPPEL_LINUX_INSTRUCTIONS);
  const auto copy = copy_of(*original, config);
  original->machine->run(DOPPEL_LINUX_INSTRUCTIONS / 3);
  copy->machine->run(DOPPEL_LINUX_INSTRUCTIONS / 3);
  expect_same_state(*original, *copy);
}

}  // namespace
}  // namespace doppel
