// Guests with one bad intention each: none may end or hang the machine monitor.
#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "tests/hostile/hostile_machine.h"
#include "tests/hostile/known_msrs.h"
#include "tests/hostile/layout.h"
#include "tests/hostile/random_guest.h"

namespace doppel::hostile {
namespace {

constexpr u64 kLong = 20'000;

// A plain guest, run until it ends or for kLong instructions; then its state must survive saving and loading.
class Hostile : public testing::Test {
 protected:
  void build(Mode mode, std::initializer_list<u8> code) {
    state = make_plain_guest(guest.memory(), mode, code);
  }
  RunEnd run(u64 instructions = kLong) {
    guest.start(state);
    const RunEnd end = guest.run(instructions);
    guest.machine().vcpu().save(state);
    guest.check_state_survives();
    return end;
  }
  void set_handler(unsigned vector, std::initializer_list<u8> code) {
    guest.memory().write(GuestPhys(kHandlers + vector * kHandlerBytes), std::vector<u8>(code));
  }
  void put(u64 address, u64 value) { guest.memory().write_value(GuestPhys(address), value); }

  HostileMachine guest;
  CpuState state;
};

TEST_F(Hostile, TripleFaultEndsTheGuestOnly) {
  build(Mode::kLong, {0x0f, 0x0b});  // ud2
  state.idtr.limit = 0;
  EXPECT_EQ(run(), RunEnd::kTripleFault);
}

TEST_F(Hostile, JumpIntoUnmappedMemoryFaultsForever) {
  build(Mode::kLong,
        {0x48, 0xb8, 0, 0, 0, 0, 0x80, 0x70, 0, 0, 0xff, 0xe0});      // mov rax, 0x708000000000; jmp rax
  set_handler(x86::kVectorPf, {0x48, 0x83, 0xc4, 0x08, 0x48, 0xcf});  // add rsp, 8; iretq
  EXPECT_EQ(run(), RunEnd::kInstructionLimit);
}

TEST_F(Hostile, JumpToNonCanonicalAddressFaults) {
  build(Mode::kLong, {0xff, 0xe0});  // jmp rax
  state.gpr[x86::kRax] = 0x800000000000;
  set_handler(x86::kVectorGp, {0x48, 0x83, 0xc4, 0x08, 0x48, 0xcf});  // add rsp, 8; iretq
  EXPECT_EQ(run(), RunEnd::kInstructionLimit);
}

TEST_F(Hostile, EndlessFaultLoopReachesTheLimit) {
  build(Mode::kLong, {0x0f, 0x0b});
  EXPECT_EQ(run(), RunEnd::kInstructionLimit);
}

TEST_F(Hostile, EndlessPageFaultInItsOwnHandlerReachesTheLimit) {
  build(Mode::kLong, {0x8a, 0x00});  // mov al, [rax]
  state.gpr[x86::kRax] = 0x700000000000;
  set_handler(x86::kVectorPf, {0x8a, 0x00});
  EXPECT_EQ(run(1'000), RunEnd::kInstructionLimit);
  run();  // the stack runs over the code, the tables and off the map
}

// A guest that stops itself through a port is started again behind that port.
TEST_F(Hostile, EveryPortInEverySize) {
  unsigned stops = 0;
  for (u64 port = 0; port < 0x10000; ++stops) {
    HostileMachine fresh;
    // l: in al, dx; in ax, dx; in eax, dx; out dx, al; out dx, ax; out dx, eax; inc edx; jmp l
    const u8 code[] = {0xec, 0x66, 0xed, 0xed, 0xee, 0x66, 0xef, 0xef, 0x42, 0xeb, 0xf5};
    CpuState start = make_plain_guest(fresh.memory(), Mode::kProtected32, code);
    start.gpr[x86::kRdx] = port;
    start.gpr[x86::kRax] = port * 0x9e3779b9;
    fresh.start(start);
    fresh.run((0x10000 - port) * 8);
    fresh.machine().vcpu().save(state);
    fresh.check_state_survives();
    port = state.gpr[x86::kRdx] + 1;
    ASSERT_LT(stops, 64u);
  }
  EXPECT_GT(stops, 0u);
}

TEST_F(Hostile, EveryKnownMsrWithEveryKindOfValue) {
  // l: mov rcx, rsi; rdmsr; wrmsr; mov eax, edi; mov edx, edi; wrmsr; imul edi, edi, 0x19660d; inc edi; inc
  // esi; jmp l
  build(Mode::kLong, {0x48, 0x89, 0xf1, 0x0f, 0x32, 0x0f, 0x30, 0x89, 0xf8, 0x89, 0xfa, 0x0f, 0x30,
                      0x69, 0xff, 0x0d, 0x66, 0x19, 0x00, 0xff, 0xc7, 0xff, 0xc6, 0xeb, 0xe7});
  // #GP steps over the instruction: add rsp, 8; add qword [rsp], 2; iretq
  set_handler(x86::kVectorGp, {0x48, 0x83, 0xc4, 0x08, 0x48, 0x83, 0x04, 0x24, 0x02, 0x48, 0xcf});
  const CpuState start = state;
  for (const u64 first :
       {0x0u, 0x100u, 0x200u, 0x6e0u, 0x800u, 0x40000000u, 0x4b564d00u, 0xc0000080u, 0xc0010000u}) {
    state = start;
    state.gpr[x86::kRsi] = first;
    state.gpr[x86::kRdi] = first * 77 + 5;
    run(4'000);
  }
  for (const u32 index : kKnownMsrs) {
    state = start;
    state.gpr[x86::kRsi] = index;
    state.gpr[x86::kRdi] = index ^ 0x1000;
    run(40);
  }
}

TEST_F(Hostile, ConstantSelfModificationIsSeenEachTime) {
  // l: inc byte [rip+1]; mov al, 0; jmp l: the first instruction counts in the operand of the second
  build(Mode::kLong, {0xfe, 0x05, 0x01, 0x00, 0x00, 0x00, 0xb0, 0x00, 0xeb, 0xf6});
  EXPECT_EQ(run(3 * 5'000), RunEnd::kInstructionLimit);
  EXPECT_EQ(state.gpr[x86::kRax] & 0xff, 5'000 & 0xff);
}

TEST_F(Hostile, SelfModificationOfTheNextPageIsSeen) {
  build(Mode::kLong, {});
  // The same, with the instruction that changes lying across two pages.
  const u8 code[] = {0xfe, 0x05, 0x01, 0x00, 0x00, 0x00, 0xb0, 0x00, 0xeb, 0xf6};
  state.rip = kCode + kPageSize - 7;
  guest.memory().write(GuestPhys(state.rip), code);
  EXPECT_EQ(run(3 * 5'000), RunEnd::kInstructionLimit);
  EXPECT_EQ(state.gpr[x86::kRax] & 0xff, 5'000 & 0xff);
}

TEST_F(Hostile, CodeInDeviceMemory) {
  for (const u64 place : {kApicAddress, kApicAddress + 0xff9, kIoApicPage, kNowhere, u64{0xfffffff0}}) {
    build(Mode::kProtected32, {0xff, 0xe0});  // jmp eax
    state.gpr[x86::kRax] = place;
    run(2'000);
  }
}

TEST_F(Hostile, StackInDeviceMemory) {
  for (const u64 place : {kApicAddress + 0x400, kIoApicPage + 0x20, kNowhere + 2, u64{0x100000002}}) {
    build(Mode::kProtected32,
          {0x60, 0x9c, 0xe8, 0, 0, 0, 0, 0xcd, 0x20, 0xeb, 0xf5});  // pusha; pushf; call; int
    state.gpr[x86::kRsp] = place;
    run(2'000);
  }
}

TEST_F(Hostile, PageTablesInDeviceMemory) {
  for (const u64 place : {kApicAddress, kIoApicPage, kNowhere, kMemoryBytes, u64{0xffffffffff000}}) {
    build(Mode::kLong, {0xeb, 0xfe});
    state.cr3 = place;
    EXPECT_EQ(run(), RunEnd::kTripleFault);
  }
}

TEST_F(Hostile, PageTablesThatPointToThemselves) {
  build(Mode::kLong, {0x48, 0xab, 0xeb, 0xfc});  // l: stosq; jmp l
  for (u64 i = 0; i < 512; ++i) put(kPageTables + i * 8, kPageTables | 7);
  state.rip = 0x90;
  run();
}

TEST_F(Hostile, StoresOverItsOwnPageTables) {
  build(Mode::kLong,
        {0xf3, 0x48, 0xab, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xeb, 0xf5});  // rep stosq; cr3 = cr3
  state.gpr[x86::kRdi] = kPageTables;
  state.gpr[x86::kRcx] = 0x10000;
  state.gpr[x86::kRax] = kPageTables | 0xe7;
  run();
}

TEST_F(Hostile, InterruptTableInDeviceMemory) {
  for (const u64 place : {kApicAddress, kIoApicPage, kNowhere}) {
    build(Mode::kProtected32, {0x0f, 0x0b});
    state.idtr.base = place;
    EXPECT_EQ(run(), RunEnd::kTripleFault);
  }
}

TEST_F(Hostile, EveryDescriptorTableInDeviceMemory) {
  for (const u64 place : {kApicAddress, kIoApicPage, kNowhere}) {
    build(Mode::kProtected32, {0xcd, 0x30, 0x8e, 0xd8, 0x0f, 0x00, 0xd8, 0xea, 0, 0, 0, 0, 0x60, 0});
    state.gdtr.base = state.tr.base = state.ldtr.base = place;
    state.gpr[x86::kRax] = kTaskA;
    run();
  }
}

TEST_F(Hostile, StringCopyOverItsOwnCode) {
  build(Mode::kLong, {0xf3, 0xa4, 0x48, 0x89, 0xdf, 0x48, 0x89, 0xce, 0xb1, 0x20, 0xeb, 0xf4});
  state.gpr[x86::kRsi] = kCode;
  state.gpr[x86::kRdi] = kCode + 1;
  state.gpr[x86::kRbx] = kCode + 3;
  state.gpr[x86::kRcx] = 0x3000;
  run();
}

TEST_F(Hostile, StringCopyOverDeviceMemory) {
  for (const bool is_backward : {false, true}) {
    build(Mode::kProtected32, {0xf3, 0xa5, 0xf3, 0xab, 0xf3, 0x6e, 0xf3, 0xad, 0xeb, 0xf6});
    state.gpr[x86::kRsi] = kApicAddress + 0x800;
    state.gpr[x86::kRdi] = kIoApicPage;
    state.gpr[x86::kRcx] = 0xffffffff;
    if (is_backward) state.rflags |= x86::kFlagDf;
    EXPECT_EQ(run(500), RunEnd::kInstructionLimit);
  }
}

// mov dword [address], value; in 32-bit code
void store(std::vector<u8>& code, u64 address, u32 value) {
  code.insert(code.end(), {0xc7, 0x05});
  for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<u8>(address >> (8 * i)));
  for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<u8>(value >> (8 * i)));
}

TEST_F(Hostile, FloodOfApicTimerInterrupts) {
  std::vector<u8> code;
  store(code, kApicAddress + 0xf0, 0x1ff);
  store(code, kApicAddress + 0x3e0, 0xb);
  store(code, kApicAddress + 0x320, 0x20040);
  store(code, kApicAddress + 0x380, 1);
  code.insert(code.end(), {0xfb, 0xeb, 0xfe});  // sti; jmp $
  state = make_plain_guest(guest.memory(), Mode::kProtected32, code);
  set_handler(0x40,
              {0xff, 0x05, 0, 0, 2, 0, 0xc7, 0x05, 0xb0, 0, 0xe0, 0xfe, 0, 0, 0, 0});  // inc [kData]; EOI
  set_handler(0x41, {0xcf});
  EXPECT_EQ(run(300'000), RunEnd::kInstructionLimit);
  EXPECT_GT(guest.memory().read_value<u32>(GuestPhys(kData)).value_or(0), 10u);
}

TEST_F(Hostile, FloodOfPitInterruptsThroughAnUnmaskedPic) {
  // PIC at vector 0x40, everything unmasked, PIT channel 0 periodic with the least count; EOI for ever
  build(Mode::kProtected32, {0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x40, 0xe6, 0x21, 0xb0, 0x04, 0xe6, 0x21, 0xb0,
                             0x01, 0xe6, 0x21, 0xb0, 0x00, 0xe6, 0x21, 0xb0, 0x34, 0xe6, 0x43, 0xb0, 0x02,
                             0xe6, 0x40, 0xb0, 0x00, 0xe6, 0x40, 0xfb, 0xb0, 0x20, 0xe6, 0x20, 0xeb, 0xfa});
  EXPECT_EQ(run(300'000), RunEnd::kInstructionLimit);
}

TEST_F(Hostile, TimersSetToTheEndOfTime) {
  std::vector<u8> code;
  store(code, kApicAddress + 0xf0, 0x1ff);
  store(code, kApicAddress + 0x320, 0x40040);  // TSC deadline
  // mov ecx, 0x6e0; l: rdtsc; add edx, a year; wrmsr; sti; hlt; jmp l
  code.insert(code.end(), {0xb9, 0xe0, 0x06, 0, 0, 0x0f, 0x31, 0x81, 0xc2, 0, 0, 0x80, 0, 0x0f, 0x30, 0xfb,
                           0xf4, 0xeb, 0xf2});
  state = make_plain_guest(guest.memory(), Mode::kProtected32, code);
  set_handler(0x40, {0xc7, 0x05, 0xb0, 0, 0xe0, 0xfe, 0, 0, 0, 0, 0xcf});  // EOI
  guest.start(state);
  for (unsigned i = 0; i < 100; ++i) guest.run(100);
  EXPECT_GT(guest.machine().vcpu().instructions_retired(), 60u);
  guest.check_state_survives();
}

TEST_F(Hostile, StormOfTranslationFlushes) {
  // l: invlpg [rax]; mov cl, [rax]; add rax, 0x1000; mov rdx, cr4; btc edx, 7; mov cr4, rdx; jmp l
  build(Mode::kLong, {0x0f, 0x01, 0x38, 0x8a, 0x08, 0x48, 0x05, 0,    0x10, 0,    0,   0x0f,
                      0x20, 0xe2, 0x0f, 0xba, 0xfa, 0x07, 0x0f, 0x22, 0xe2, 0xeb, 0xe9});
  run();
}

TEST_F(Hostile, ModeSwitchingLoop) {
  build(Mode::kProtected32,
        {0x0f, 0x20, 0xc0, 0x34, 0x01, 0x0f, 0x22, 0xc0, 0xeb, 0xf6});  // CR0.PE back and forth
  EXPECT_EQ(run(), RunEnd::kInstructionLimit);
}

TEST_F(Hostile, PagingSwitchedOnWithGarbageTables) {
  build(Mode::kProtected32, {0x0f, 0x20, 0xc0, 0x35, 0, 0, 0, 0x80, 0x0f, 0x22, 0xc0, 0xeb, 0xf3});
  state.cr3 = kCode;
  run();
}

TEST_F(Hostile, TasksThatSwitchToEachOtherForever) {
  build(Mode::kProtected32, {0xea, 0, 0, 0, 0, 0x60, 0});  // jmp task A, which starts here, too
  run();
  for (unsigned vector = 0; vector < 32; ++vector) {
    put(kIdt + vector * 8, gate_descriptor(vector % 2 == 0 ? kTaskA : kTaskB, 0, 0xe5, 0));
  }
  run();
}

TEST_F(Hostile, SingleSteppingThroughBreakpointsEverywhere) {
  build(Mode::kLong, {0x48, 0xff, 0xc0, 0x50, 0x58, 0xf3, 0xaa, 0xeb, 0xf7});
  state.rflags |= x86::kFlagTf;
  state.dr = {kCode, kHandlers + kHandlerBytes, kStack - 8, kCode + 3};
  state.dr7 = 0x3700ff | x86::kDr7Fixed;
  run();
}

TEST_F(Hostile, LocksOnUnalignedAndSplitOperands) {
  // lock inc, xadd, cmpxchg, cmpxchg8b, xchg, bts and not at an odd address, then across a page
  for (const u64 place : {kData + 1, kData + kPageSize - 1, kData + kPageSize - 5, kMemoryBytes - 1}) {
    build(Mode::kLong, {0xf0, 0x48, 0xff, 0x07, 0xf0, 0x48, 0x0f, 0xc1, 0x07, 0xf0, 0x48, 0x0f,
                        0xb1, 0x07, 0xf0, 0x0f, 0xc7, 0x0f, 0x48, 0x87, 0x07, 0xf0, 0x48, 0x0f,
                        0xab, 0x07, 0xf0, 0xf7, 0x17, 0xf0, 0x66, 0xf7, 0x1f, 0xeb, 0xdd});
    state.gpr[x86::kRdi] = place;
    run(500);
  }
}

}  // namespace
}  // namespace doppel::hostile
