// One computation on changing engines: its result, and the state that counting engines leave.
#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <thread>

#include "machine/long_mode_bench.h"

namespace doppel {
namespace {

using namespace machine_test;

constexpr u64 kNoLimit = ~u64{0};
constexpr u64 kTable = 0x21000;
constexpr u64 kShared = 0x22000;  // a byte that ends the guest, then the number of finished rounds
constexpr u64 kRounds = kShared + 8;
constexpr u32 kSteps = 5000;
constexpr u64 kFactor = 6364136223846793005;

// 64-bit code at privilege level 0: computes the same hash again and again, with calls and memory between,
// and compares it with RDI. RSI is kShared, RBX kTable. Exits with 0 when told to, with 1 at a wrong result.
constexpr auto kHashingGuest = std::to_array<u8>({
    0xb8, 0x01, 0,    0,    0,                                   // round: mov eax, 1
    0xb9, 0x88, 0x13, 0,    0,                                   // mov ecx, 5000
    0x48, 0xba, 0x2d, 0x7f, 0x95, 0x4c, 0x2d, 0xf4, 0x51, 0x58,  // mov rdx, kFactor
    0x48, 0x0f, 0xaf, 0xc2,                                      // next: imul rax, rdx
    0x48, 0x01, 0xc8,                                            // add rax, rcx
    0x41, 0x89, 0xc4,                                            // mov r12d, eax
    0x41, 0x81, 0xe4, 0xf8, 0x0f, 0,    0,                       // and r12d, 0ff8h
    0x4a, 0x31, 0x04, 0x23,                                      // xor [rbx + r12], rax
    0x48, 0xc1, 0xc0, 0x0d,                                      // rol rax, 13
    0xe8, 0x1a, 0,    0,    0,                                   // call leaf
    0xff, 0xc9,                                                  // dec ecx
    0x75, 0xde,                                                  // jnz next
    0x48, 0x39, 0xf8,                                            // cmp rax, rdi
    0x75, 0x0d,                                                  // jne wrong
    0x48, 0xff, 0x46, 0x08,                                      // inc qword [rsi + 8]
    0x80, 0x3e, 0x00,                                            // cmp byte [rsi], 0
    0x74, 0xbc,                                                  // je round
    0x31, 0xc0,                                                  // xor eax, eax
    0xe6, 0xf4,                                                  // out 0f4h, al
    0xb0, 0x01,                                                  // wrong: mov al, 1
    0xe6, 0xf4,                                                  // out 0f4h, al
    0x48, 0x8d, 0x44, 0x88, 0x05,                                // leaf: lea rax, [rax + 4 * rcx + 5]
    0xc3,                                                        // ret
});

u64 expected_hash() {
  u64 hash = 1;
  for (u32 left = kSteps; left != 0; --left) {
    hash = std::rotl(hash * kFactor + left, 13) + u64{4} * left + 5;
  }
  return hash;
}

MachineConfig config_with(EngineChoice engine, ClockSource clock, unsigned cpus = 1) {
  MachineConfig config = config_of({}, cpus);
  config.engine = engine;
  config.clock = clock;
  config.is_switchable = true;
  return config;
}

// A machine about to run the guest.
std::unique_ptr<Bench> hashing_machine(const MachineConfig& config) {
  std::unique_ptr<Bench> bench = long_mode(config, kHashingGuest);
  set_register(*bench, x86::kRbx, kTable);
  set_register(*bench, x86::kRsi, kShared);
  set_register(*bench, x86::kRdi, expected_hash());
  return bench;
}

u64 finished_rounds(Machine& machine) {
  machine.pause();
  const u64 rounds = *machine.memory().read_value<u64>(GuestPhys(kRounds));
  machine.resume();
  return rounds;
}

void wait_for_another_round(Machine& machine) {
  for (const u64 seen = finished_rounds(machine); finished_rounds(machine) == seen;)
    std::this_thread::yield();
}

TEST(EngineSwitch, AHundredChangesLeaveTheResultRight) {
  const auto bench = hashing_machine(config_with(EngineChoice::kInterp, ClockSource::kHost));
  Machine& machine = *bench->machine;
  RunResult result;
  std::thread runner([&] { result = machine.run(kNoLimit); });
  std::set<Engine> seen;
  for (unsigned i = 0; i < 100; ++i) {
    const Engine next = machine.next_engine();
    const Result<void> switched = machine.switch_engine(next);
    EXPECT_TRUE(switched) << switched.error().message;
    EXPECT_EQ(machine.engine(), next);
    seen.insert(next);
    wait_for_another_round(machine);
  }
  machine.pause();
  machine.memory().write_value(GuestPhys(kShared), u8{1});
  machine.resume();
  runner.join();
  EXPECT_EQ(result.end, RunEnd::kDebugExit);
  EXPECT_EQ(result.debug_exit_status, 1);  // the guest's 0
  EXPECT_TRUE(seen.contains(Engine::kInterp));
  EXPECT_TRUE(seen.contains(Engine::kJit));
}

// In the middle of everything, as the steps below are no multiple of anything.
TEST(EngineSwitch, CountedRunsAreTheSameOnEachEngineAndOnBothInTurns) {
  const auto interpreted = hashing_machine(config_with(EngineChoice::kInterp, ClockSource::kInstructions));
  const auto translated = hashing_machine(config_with(EngineChoice::kJit, ClockSource::kInstructions));
  const auto changing = hashing_machine(config_with(EngineChoice::kJit, ClockSource::kInstructions));
  EXPECT_EQ(translated->machine->engine(), Engine::kJit);
  for (unsigned i = 0; i < 101; ++i) {
    EXPECT_TRUE(changing->machine->switch_engine(changing->machine->next_engine()));
    EXPECT_EQ(changing->machine->run(1237).end, RunEnd::kInstructionLimit);
  }
  interpreted->machine->run(101 * 1237);
  translated->machine->run(101 * 1237);
  expect_same_state(*interpreted, *translated);
  expect_same_state(*interpreted, *changing);
}

TEST(EngineSwitch, AnEngineThatTheMachineWasMadeWithoutIsAnError) {
  const auto bench = hashing_machine(config_with(EngineChoice::kJit, ClockSource::kInstructions));
  const Result<void> switched = bench->machine->switch_engine(Engine::kKvm);
  ASSERT_FALSE(switched);
  EXPECT_EQ(switched.error().message, "engine kvm: the machine was made without it");
  EXPECT_EQ(bench->machine->engine(), Engine::kJit);
}

// The profile of a guest that spends all its time in 82 bytes of code.
std::string profile_of(EngineChoice engine) {
  const std::string map = testing::TempDir() + "doppel_profile_test";
  std::ofstream(map) << fmt::format("{:x} T round\n{:x} T leaf\n", kCode, kCode + 0x4c);
  MachineConfig config = config_with(engine, ClockSource::kHost);
  config.observation.is_profiled = true;
  config.observation.symbols = map;
  const auto bench = hashing_machine(config);
  std::filesystem::remove(map);
  Machine& machine = *bench->machine;
  std::thread runner([&] { machine.run(kNoLimit); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  machine.request_quit();
  runner.join();
  return machine.profile_text();
}

TEST(EngineProfile, TranslatedCodeIsFoundByItsHostCode) {
  const std::string text = profile_of(EngineChoice::kJit);
  EXPECT_TRUE(
      std::regex_search(text, std::regex("[1-9][0-9]* +[1-9][0-9]* +[0-9]+ +[0-9]+  kernel  round\n")))
      << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("[1-9][0-9]* +[1-9][0-9]* +[0-9]+ +[0-9]+  kernel  leaf\n")))
      << text;
}

TEST(EngineProfile, TheInterpreterIsAskedBetweenTraces) {
  const std::string text = profile_of(EngineChoice::kInterp);
  EXPECT_TRUE(std::regex_search(text, std::regex("[1-9][0-9]* +0 +0 +[1-9][0-9]*  kernel  round\n"))) << text;
}

// Looking changes nothing.
TEST(EngineProfile, CountedRunsStayTheSame) {
  const auto plain = hashing_machine(config_with(EngineChoice::kInterp, ClockSource::kInstructions));
  MachineConfig config = config_with(EngineChoice::kJit, ClockSource::kInstructions);
  config.observation.is_profiled = true;
  const auto profiled = hashing_machine(config);
  plain->machine->run(20'000'001);
  profiled->machine->run(20'000'001);
  expect_same_state(*plain, *profiled);
}

// Both engines of a vCPU hold decoded instructions, and there are places for 64 that do.
TEST(EngineSwitch, LargeMachinesKeepTheirEngine) {
  const auto large = empty(config_with(EngineChoice::kInterp, ClockSource::kInstructions, 33));
  EXPECT_FALSE(large->machine->switch_engine(Engine::kJit));
  EXPECT_EQ(large->machine->next_engine(), Engine::kInterp);
  const auto small = empty(config_with(EngineChoice::kInterp, ClockSource::kInstructions, 32));
  EXPECT_TRUE(small->machine->switch_engine(Engine::kJit));
}

}  // namespace
}  // namespace doppel
