// Counted runs do not depend on how an engine cuts code into pieces: where interrupts come, what an
// instruction counts.
#include <gtest/gtest.h>

#include "machine/long_mode_bench.h"

namespace doppel {
namespace {

using namespace machine_test;

constexpr u64 kSeen = 0x22000;
constexpr u64 kHandler = kCode + 0x800;
constexpr unsigned kVector = 0x40;
constexpr unsigned kNmi = 2;
constexpr u64 kToSelf = 0x44000 | kVector;  // interrupt command: to self, asserted
constexpr u64 kNmiToFirst = 0x4400;         // non-maskable, to the CPU with id 0
constexpr u64 kPlenty = 100;                // instructions

MachineConfig config_on(EngineChoice engine) {
  MachineConfig config = config_of({});
  config.engine = engine;
  return config;
}

// R8 is the interrupt command register, R9 that of the end of interrupts, RSI kSeen, RCX and RDX commands.
std::unique_ptr<Bench> machine_on(EngineChoice engine, std::span<const u8> code) {
  std::unique_ptr<Bench> bench = long_mode(config_on(engine), code);
  set_register(*bench, 8, kApicPage + 0x300);
  set_register(*bench, 9, kApicPage + 0xb0);
  set_register(*bench, x86::kRsi, kSeen);
  set_register(*bench, x86::kRcx, kToSelf);
  set_register(*bench, x86::kRdx, kNmiToFirst);
  bench->machine->memory().write_value(GuestPhys(kSeen), ~u64{0});
  return bench;
}

void place(Bench& bench, u64 address, std::span<const u8> code) {
  EXPECT_TRUE(bench.machine->memory().write(GuestPhys(address), code));
}

u32 seen(const Bench& bench) { return *bench.machine->memory().read_value<u32>(GuestPhys(kSeen)); }

CpuState state_of(Bench& bench) {
  CpuState state;
  bench.machine->vcpu().save(state);
  return state;
}

// --- An interrupt that an access raises

// Notes EAX.
constexpr auto kNoteHandler = std::to_array<u8>({
    0x89, 0x06,        // mov [rsi], eax
    0x41, 0x89, 0x01,  // mov [r9], eax: end of interrupt
    0x48, 0xcf,        // iretq
});

// sti; nop; the access; inc eax, five times; jmp to itself
std::vector<u8> guest_around(const std::vector<u8>& access) {
  std::vector<u8> code = {0xfb, 0x90};
  code.insert(code.end(), access.begin(), access.end());
  for (unsigned i = 0; i < 5; ++i) code.insert(code.end(), {0xff, 0xc0});
  code.insert(code.end(), {0xeb, 0xfe});
  return code;
}

class InterruptOfAnAccess : public testing::TestWithParam<std::vector<u8>> {};

std::unique_ptr<Bench> after_access(EngineChoice engine, const std::vector<u8>& access) {
  std::unique_ptr<Bench> bench = machine_on(engine, guest_around(access));
  set_gate(*bench, kVector, Gate::kInterrupt, kHandler);
  place(*bench, kHandler, kNoteHandler);
  bench->machine->run(kPlenty);
  return bench;
}

TEST_P(InterruptOfAnAccess, ComesRightBehindIt) {
  const auto interpreted = after_access(EngineChoice::kInterp, GetParam());
  const auto translated = after_access(EngineChoice::kJit, GetParam());
  EXPECT_EQ(seen(*interpreted), 0u);
  EXPECT_EQ(seen(*translated), 0u);
  expect_same_state(*interpreted, *translated);
}

INSTANTIATE_TEST_SUITE_P(Accesses, InterruptOfAnAccess,
                         testing::Values(std::vector<u8>{0x41, 0x89, 0x08},  // mov [r8], ecx
                                         std::vector<u8>{0x41, 0xc7, 0, 0x40, 0x40, 0x04,
                                                         0},                         // mov [r8], imm
                                         std::vector<u8>{0x41, 0x01, 0x08},          // add [r8], ecx
                                         std::vector<u8>{0xf0, 0x41, 0x01, 0x08},    // lock add [r8], ecx
                                         std::vector<u8>{0x41, 0x87, 0x08},          // xchg [r8], ecx
                                         std::vector<u8>{0x41, 0x0f, 0xc1, 0x08}));  // xadd [r8], ecx

// --- One that has been waiting

// mov [r8], ecx: waits for STI; sti; mov [r8], edx: a non-maskable one comes first; jmp to itself
constexpr auto kTwoAtOnce = std::to_array<u8>({0x41, 0x89, 0x08, 0xfb, 0x41, 0x89, 0x10, 0xeb, 0xfe});
// The handler of the non-maskable one; interrupts are on, as it was entered by a trap gate.
constexpr auto kCountingHandler =
    std::to_array<u8>({0xff, 0xc0, 0xff, 0xc0, 0xff, 0xc0, 0xff, 0xc0, 0xeb, 0xf6});  // inc eax; ...

std::unique_ptr<Bench> after_two(EngineChoice engine) {
  std::unique_ptr<Bench> bench = machine_on(engine, kTwoAtOnce);
  set_gate(*bench, kVector, Gate::kInterrupt, kHandler);
  set_gate(*bench, kNmi, Gate::kTrap, kHandler + 0x100);
  place(*bench, kHandler, kNoteHandler);
  place(*bench, kHandler + 0x100, kCountingHandler);
  bench->machine->run(kPlenty);
  return bench;
}

TEST(EngineAgreement, AnInterruptFollowsTheOneBeforeItAfterAnInstruction) {
  const auto interpreted = after_two(EngineChoice::kInterp);
  const auto translated = after_two(EngineChoice::kJit);
  EXPECT_EQ(seen(*interpreted), 1u);
  EXPECT_EQ(seen(*translated), 1u);
  expect_same_state(*interpreted, *translated);
}

// --- STI at the end of a page, where traces and blocks end

// sti; nop: nothing waits; cli; jmp to the page's last 16 bytes
constexpr auto kToEndOfPage = std::to_array<u8>({0xfb, 0x90, 0xfa, 0xe9, 0xe8, 0x0f, 0, 0});
constexpr u64 kInstructionsToSti = 4 + 15 + 1;

std::unique_ptr<Bench> after_sti(EngineChoice engine, u64 more) {
  std::vector<u8> code(0xfff, 0x90);
  std::ranges::copy(kToEndOfPage, code.begin());
  code.insert(code.end(), {0xfb, 0xff, 0xc0, 0xeb, 0xfe});  // sti; inc eax; jmp to itself
  std::unique_ptr<Bench> bench = machine_on(engine, code);
  bench->machine->run(kInstructionsToSti + more);
  return bench;
}

TEST(EngineAgreement, AStopBehindStiIsInItsShadow) {
  const auto interpreted = after_sti(EngineChoice::kInterp, 0);
  const auto translated = after_sti(EngineChoice::kJit, 0);
  EXPECT_EQ(state_of(*interpreted).rip, kCode + 0x1000);
  EXPECT_EQ(state_of(*interpreted).shadow, kShadowSti);
  EXPECT_EQ(state_of(*translated).shadow, kShadowSti);
  expect_same_state(*interpreted, *translated);
}

TEST(EngineAgreement, AnInstructionEndsTheShadow) {
  const auto interpreted = after_sti(EngineChoice::kInterp, 1);
  const auto translated = after_sti(EngineChoice::kJit, 1);
  EXPECT_EQ(state_of(*interpreted).shadow, kShadowNone);
  expect_same_state(*interpreted, *translated);
}

// --- A repeated instruction on a page that also has code, to which engines grant no direct writes

constexpr u64 kPage = 0x30000;
constexpr u64 kBytes = 3000;  // behind the code

// call kPage, where a RET is; rep stosb; rep movsb with the same destination; jmp to itself
constexpr auto kRepeating = std::to_array<u8>({
    0xe8, 0xfb, 0xff, 0x01, 0,                 // call kPage
    0x48, 0xbf, 0,    4,    3, 0, 0, 0, 0, 0,  // mov rdi, kPage + 400h
    0xb9, 0xb8, 0x0b, 0,    0,                 // mov ecx, 3000
    0xf3, 0xaa,                                // rep stosb
    0x48, 0xbf, 0,    4,    3, 0, 0, 0, 0, 0,  // mov rdi, kPage + 400h
    0xb9, 0xb8, 0x0b, 0,    0,                 // mov ecx, 3000
    0xf3, 0xa4,                                // rep movsb
    0xeb, 0xfe,                                // jmp to itself
});
constexpr u64 kRepeatingInstructions = 8;

std::unique_ptr<Bench> after_repeating(EngineChoice engine) {
  std::unique_ptr<Bench> bench = machine_on(engine, kRepeating);
  place(*bench, kPage, std::to_array<u8>({0xc3}));
  bench->machine->run(kRepeatingInstructions);
  return bench;
}

TEST(EngineAgreement, ARepeatedInstructionCountsOnceWhereverItsPageIs) {
  const auto interpreted = after_repeating(EngineChoice::kInterp);
  const auto translated = after_repeating(EngineChoice::kJit);
  EXPECT_EQ(state_of(*interpreted).rip, kCode + kRepeating.size() - 2);
  EXPECT_EQ(state_of(*interpreted).gpr[x86::kRdi], kPage + 0x400 + kBytes);
  expect_same_state(*interpreted, *translated);
}

}  // namespace
}  // namespace doppel
