// What lockstep finds, and what it lets pass.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cpu/flat_segment.h"
#include "engine/interp/interpreter.h"
#include "engine/jit/jit.h"
#include "engine/lockstep/checked_code.h"
#include "tests/lockstep/wrong_code.h"

namespace doppel::lockstep_test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr u64 kTop = 0x1000;
constexpr u64 kTable = 0x4000;  // of the first 2 MiB
constexpr u64 kCode = 0x10000;
constexpr u64 kStack = 0x20000;
constexpr u64 kData = 0x21000;
constexpr u64 kEntry = 0x3;  // present, writable, neither accessed nor dirty
constexpr u64 kLoop = kCode + 7;
constexpr u64 kDataEntry = kTable + (kData >> 12) * 8;

// Counts in RAX, sums in memory, calls, clears a part of a page, and begins again.
constexpr auto kProgram = std::to_array<u8>({
    0x48, 0xc7, 0xc0, 0x00, 0x00, 0x00, 0x00,  // 10000 mov rax, 0
    0x48, 0xff, 0xc0,                          // 10007 loop: inc rax
    0x48, 0x01, 0x03,                          // 1000a add [rbx], rax
    0xe8, 0x05, 0x00, 0x00, 0x00,              // 1000d call leaf
    0x48, 0x85, 0xc0,                          // 10012 test rax, rax
    0x75, 0xf0,                                // 10015 jnz loop
    0x48, 0x8d, 0x7b, 0x40,                    // 10017 leaf: lea rdi, [rbx + 40h]
    0xb9, 0x10, 0x00, 0x00, 0x00,              // 1001b mov ecx, 16
    0xf3, 0x48, 0xab,                          // 10020 rep stosq
    0x0f, 0x57, 0xc0,                          // 10023 xorps xmm0, xmm0
    0xc3,                                      // 10026 ret
});
constexpr u64 kLeaf = kCode + 0x17;
constexpr u64 kReturned = kCode + 0x12;

class Nothing final : public CpuPlatform {
 public:
  void read_mmio(GuestPhys, std::span<u8> data) override { std::ranges::fill(data, u8{0xff}); }
  void write_mmio(GuestPhys, std::span<const u8>) override { ++writes; }
  u32 read_port(u16, unsigned) override { return 0; }
  void write_port(u16, unsigned, u32) override {}
  bool has_interrupt() override { return false; }
  std::optional<u8> acknowledge_interrupt() override { return std::nullopt; }
  u8 task_priority() override { return 0; }
  void set_task_priority(u8) override {}
  std::optional<u64> read_msr(u32) override { return std::nullopt; }
  bool write_msr(u32, u64) override { return false; }
  void tsc_offset_changed(u64) override {}
  u64 hypercall(u64, std::span<const u64, 4>) override { return 0; }
  u64 tsc() override { return 0; }
  u64 entropy() override { return 0; }
  unsigned writes = 0;
};

class Lockstep : public testing::Test {
 protected:
  void SetUp() override {
    if (!missing_for_translator(x86::host_features()).empty()) GTEST_SKIP() << "no translator on this host";
    memory->write_value(GuestPhys(kTop), u64{0x2000} | kEntry);
    memory->write_value(GuestPhys(0x2000), u64{0x3000} | kEntry);
    memory->write_value(GuestPhys(0x3000), kTable | kEntry);
    for (u64 page = 0; page < 512; ++page) map(page << 12, page << 12);
    place(kProgram);
  }
  void map(u64 address, u64 physical) {
    memory->write_value(GuestPhys(kTable + (address >> 12) * 8), physical | kEntry);
  }
  void place(std::span<const u8> code) { ASSERT_TRUE(memory->write(GuestPhys(kCode), code)); }

  // A vCPU at the program's beginning, whose translated code does `damage` after each block that ends at
  // `rip`.
  void start(u64 rip = 0, WrongCode::Damage damage = nullptr) {
    std::unique_ptr<TranslatedCode> code =
        *create_translator({.features = cpuid->features(), .counts_instructions = true});
    code = std::make_unique<WrongCode>(std::move(code), rip, std::move(damage));
    code = check_translated_code(std::move(code), *create_interpreter_reference({*memory, platform, *cpuid}),
                                 {.cpu = 3, .on_mismatch = [this](const std::string& text) {
                                    reports.push_back(text);
                                    vcpu->kick();
                                  }});
    vcpu = *create_interpreter({*memory, platform, *cpuid}, std::move(code));
    CpuState state;
    state.cr0 = x86::kCr0Pg | x86::kCr0Pe | x86::kCr0Wp;
    state.cr3 = kTop;
    state.cr4 = x86::kCr4Pae | x86::kCr4Osfxsr;
    state.efer = x86::kEferLme | x86::kEferLma | x86::kEferNxe;
    state.segments[x86::kCs] = flat_code_segment(8, 0, true);
    for (const unsigned segment : {x86::kSs, x86::kDs, x86::kEs})
      state.segments[segment] = flat_data_segment(16, 0);
    state.rip = kCode;
    state.gpr[x86::kRsp] = kStack + 0x800;
    state.gpr[x86::kRbx] = kData;
    vcpu->load(state);
  }
  std::string report_of_run(u64 instructions) {
    vcpu->run({.instructions = instructions});
    return reports.empty() ? "" : reports.front();
  }
  u64 counter(std::string_view name) const {
    const auto all = vcpu->statistics();
    const auto found = std::ranges::find(all, name, &std::pair<std::string_view, u64>::first);
    return found == all.end() ? ~u64{0} : found->second;
  }

  std::unique_ptr<GuestMemory> memory = *GuestMemory::create(2 * kMiB);
  std::unique_ptr<x86::CpuidTable> cpuid =
      std::make_unique<x86::CpuidTable>(*x86::CpuidTable::create("host", {}));
  Nothing platform;
  std::unique_ptr<Vcpu> vcpu;
  std::vector<std::string> reports;
};

TEST_F(Lockstep, RightCodePasses) {
  start();
  EXPECT_EQ(report_of_run(100'000), "");
  EXPECT_GT(counter("checked_blocks"), 20'000u);
  EXPECT_GT(counter("checked_instructions"), 99'000u);
  EXPECT_EQ(counter("check_skipped"), 0u);
}

TEST_F(Lockstep, GuestSeesNothingOfIt) {
  start();
  vcpu->run({.instructions = 10'000});
  CpuState checked;
  vcpu->save(checked);
  const u64 sum = *memory->read_value<u64>(GuestPhys(kData));
  SetUp();
  memory->write_value(GuestPhys(kData), u64{0});
  vcpu = *create_interpreter({*memory, platform, *cpuid});
  checked.rip = kCode;
  checked.gpr[x86::kRsp] = kStack + 0x800;
  const u64 counted = checked.gpr[x86::kRax];
  vcpu->load(checked);
  vcpu->run({.instructions = 10'000});
  CpuState plain;
  vcpu->save(plain);
  EXPECT_EQ(plain.gpr[x86::kRax], counted);
  EXPECT_EQ(*memory->read_value<u64>(GuestPhys(kData)), sum);
}

TEST_F(Lockstep, WrongRegisterIsReported) {
  start(kLeaf, [](Core& core) { core.state.gpr[x86::kR9] = 0x77; });
  const std::string report = report_of_run(1000);
  EXPECT_THAT(report, HasSubstr("vCPU 3, block 1: "));
  EXPECT_THAT(report, HasSubstr("at 0x10000"));
  EXPECT_THAT(report, HasSubstr("000000000001000a  480103                           add [rbx], rax"));
  EXPECT_THAT(report, HasSubstr("r9: translated 0x0000000000000077, interpreted 0x0000000000000000"));
  EXPECT_THAT(report, HasSubstr("--jit-dump FILE,rip=0x10000"));
  EXPECT_THAT(report, Not(HasSubstr("memory")));
}

TEST_F(Lockstep, WrongFlagIsReported) {
  start(kLoop, [](Core& core) { core.state.rflags ^= x86::kFlagCf; });
  EXPECT_THAT(report_of_run(1000), HasSubstr("rflags: translated"));
}

TEST_F(Lockstep, WrongTargetIsReported) {
  start(kReturned, [](Core& core) { core.state.rip = kLoop; });
  EXPECT_THAT(report_of_run(1000),
              HasSubstr("rip: translated 0x0000000000010007, interpreted 0x0000000000010012"));
}

TEST_F(Lockstep, WrongVectorRegisterIsReported) {
  start(kReturned, [](Core& core) { core.state.ymm[15].qword[3] = 1; });
  EXPECT_THAT(report_of_run(1000), HasSubstr("ymm15: translated 0x0000000000000001"));
}

TEST_F(Lockstep, WrongSystemRegisterIsReported) {
  start(kReturned, [](Core& core) { core.state.kernel_gs_base = 8; });
  EXPECT_THAT(report_of_run(1000), HasSubstr("kernel_gs_base: translated"));
}

TEST_F(Lockstep, WrongStoreIsReported) {
  start(kLeaf, [](Core& core) { *core.memory.host(GuestPhys(kData)) ^= 0xff; });
  EXPECT_THAT(report_of_run(1000),
              HasSubstr("memory at guest-physical 0x21000: translated fe, interpreted 01"));
}

TEST_F(Lockstep, StoreBesideItsPlaceIsReported) {
  start(kReturned, [](Core& core) { *core.memory.host(GuestPhys(kData + 0xc0)) = 5; });
  EXPECT_THAT(report_of_run(1000),
              HasSubstr("memory at guest-physical 0x210c0: translated 05, interpreted 00"));
}

TEST_F(Lockstep, StoreAstrayIsReportedWithinManyBlocks) {
  start(kReturned, [](Core& core) { ++*core.memory.host(GuestPhys(kData + 0xa00)); });
  const std::string report = report_of_run(100'000);
  EXPECT_THAT(report, HasSubstr("The interpreter touches nothing near what translated code wrote."));
  EXPECT_THAT(report, HasSubstr("memory at guest-physical 0x21a00: translated"));
}

TEST_F(Lockstep, MissingDirtyBitIsReported) {
  start(kLeaf, [](Core& core) { *core.memory.host(GuestPhys(kDataEntry)) &= 0xbf; });
  EXPECT_THAT(report_of_run(1000),
              HasSubstr("memory at guest-physical 0x4108: translated 23, interpreted 63"));
}

TEST_F(Lockstep, NothingRunsAfterAReport) {
  start(kLeaf, [](Core& core) { core.state.gpr[x86::kR9] = 0x77; });
  report_of_run(4);
  vcpu->kick();
  vcpu->run({.instructions = 1000});
  CpuState state;
  vcpu->save(state);
  EXPECT_EQ(state.rip, kLeaf);
  EXPECT_EQ(reports.size(), 1u);
}

// --- What may differ

TEST_F(Lockstep, DeviceAccessesHappenOnce) {
  map(kData, 0xfee00000);
  start();
  vcpu->run({.instructions = 4});
  EXPECT_EQ(platform.writes, 1u);
  EXPECT_TRUE(reports.empty());
}

TEST_F(Lockstep, PageFaultsAreTheOwners) {
  memory->write_value(GuestPhys(kDataEntry), u64{0});
  start();
  EXPECT_EQ(report_of_run(1000), "");
  CpuState state;
  vcpu->save(state);
  EXPECT_EQ(state.cr2, kData);
  EXPECT_EQ(state.activity, Activity::kShutdown);  // there is no IDT
}

TEST_F(Lockstep, CodeThatChangesItselfPasses) {
  // inc rax; inc byte [10006h]: the immediate of add ecx, imm; jmp back
  place(std::to_array<u8>(
      {0x48, 0xff, 0xc0, 0x90, 0x83, 0xc1, 0x01, 0xfe, 0x05, 0xf9, 0xff, 0xff, 0xff, 0xeb, 0xf1}));
  start();
  EXPECT_EQ(report_of_run(4 * 100), "");
  CpuState state;
  vcpu->save(state);
  EXPECT_EQ(state.gpr[x86::kRax], 80u);
}

TEST_F(Lockstep, RepeatedInstructionsOverManyPagesPass) {
  // cld; mov edi, 40000h; mov ecx, 30000h; rep stosb; jmp back
  place(std::to_array<u8>(
      {0xfc, 0xbf, 0x00, 0x00, 0x04, 0x00, 0xb9, 0x00, 0x00, 0x03, 0x00, 0xf3, 0xaa, 0xeb, 0xf1}));
  start();
  EXPECT_EQ(report_of_run(500), "");
}

}  // namespace
}  // namespace doppel::lockstep_test
