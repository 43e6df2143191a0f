// A stub process by itself: what runs in it, what it may not do, and what becomes of it when it misbehaves.
#include "engine/direct/stub_process.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <chrono>
#include <thread>

#include "engine/direct/user_context.h"

namespace doppel::direct {
namespace {

constexpr u64 kCode = 0x40'0000;
constexpr u64 kData = 0x7ffd'0000'0000;

class StubProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    auto memory = GuestMemory::create(4 * kMiB);
    ASSERT_TRUE(memory);
    memory_ = std::move(*memory);
    auto factory = StubFactory::create(*memory_);
    if (!factory) GTEST_SKIP() << factory.error().message;
    factory_ = std::move(*factory);
    auto stub = StubProcess::create(*factory_, *memory_, place_);
    if (!stub) GTEST_SKIP() << stub.error().message;
    stub_ = std::move(*stub);
    state_.rip = kCode;
    map(kCode, 0, PROT_READ | PROT_EXEC);
    map(kData, kPageSize, PROT_READ | PROT_WRITE);
  }

  void map(u64 address, u64 offset, int protection) {
    const HostCall call{SYS_mmap,
                        {address, kPageSize, static_cast<u64>(protection), MAP_SHARED | MAP_FIXED,
                         static_cast<u64>(memory_->memfd()), offset}};
    ASSERT_TRUE(stub_->do_calls({&call, 1}));
  }
  void write_code(std::initializer_list<u8> code) {
    std::ranges::copy(code, memory_->host(GuestPhys(0)));
    state_.rip = kCode;
  }
  StopReport run() {
    if (!put_context(*stub_, state_)) return {};
    return stub_->resume() ? take_context(*stub_, state_) : StopReport{};
  }

  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<StubFactory> factory_;
  HostPlace place_;
  std::unique_ptr<StubProcess> stub_;
  CpuState state_;
};

TEST_F(StubProcessTest, RunsCodeAndShowsItsRegisters) {
  // mov rax, [rdi]; add rax, 1; vmovq xmm9, rax; vinsertf128 ymm9, ymm9, xmm9, 1; wrfsbase rax; ud2
  write_code({0x48, 0x8b, 0x07, 0x48, 0x83, 0xc0, 0x01, 0xc4, 0x61, 0xf9, 0x6e, 0xc8, 0xc4,
              0x43, 0x35, 0x18, 0xc9, 0x01, 0xf3, 0x48, 0x0f, 0xae, 0xd0, 0x0f, 0x0b});
  const u64 value = 0x1234'5678'9abc;
  std::memcpy(memory_->host(GuestPhys(kPageSize)), &value, sizeof(value));
  state_.gpr[x86::kRdi] = kData;
  state_.gpr[15] = 15;
  state_.rflags |= x86::kFlagCf;
  EXPECT_EQ(run().stop, Stop::kInstruction);
  EXPECT_EQ(state_.rip, kCode + 23);
  EXPECT_EQ(state_.gpr[x86::kRax], value + 1);
  EXPECT_EQ(state_.gpr[15], 15u);
  EXPECT_EQ(state_.ymm[9].qword[2], value + 1);
  EXPECT_EQ(state_.segments[x86::kFs].base, value + 1);
  EXPECT_EQ(state_.rflags & x86::kFlagCf, 0u);
}

TEST_F(StubProcessTest, SystemCallsStopBeforeTheyHappen) {
  for (const u8 second : {u8{0x05}, u8{0x80}}) {
    // mov eax, 39 (getpid); syscall or int 0x80
    write_code({0xb8, 39, 0, 0, 0, static_cast<u8>(second == 0x05 ? 0x0f : 0xcd), second});
    EXPECT_EQ(run().stop, Stop::kInstruction);
    EXPECT_EQ(state_.rip, kCode + 5);
    EXPECT_EQ(state_.gpr[x86::kRax], 39u);
  }
}

TEST_F(StubProcessTest, PageFaultsSayWhatWasTried) {
  write_code({0xc6, 0x07, 0x01, 0xff, 0xe7});  // mov byte [rdi], 1; jmp rdi
  state_.gpr[x86::kRdi] = 0x1'2345'6789;
  StopReport report = run();
  EXPECT_EQ(report.stop, Stop::kPageFault);
  EXPECT_EQ(report.address, 0x1'2345'6789u);
  EXPECT_EQ(report.error_code & ~x86::kPfPresent, x86::kPfWrite | x86::kPfUser);
  state_.gpr[x86::kRdi] = kData;
  report = run();  // the write, and a fetch from a page that is not for code
  EXPECT_EQ(report.stop, Stop::kPageFault);
  EXPECT_EQ(report.address, kData);
  EXPECT_NE(report.error_code & x86::kPfFetch, 0u);
  EXPECT_EQ(*memory_->host(GuestPhys(kPageSize)), 1);
}

TEST_F(StubProcessTest, Traps) {
  write_code({0x90, 0xcc});
  EXPECT_EQ(run().stop, Stop::kTrap);
  EXPECT_EQ(state_.rip, kCode + 2);
  write_code({0x90, 0xf1});
  EXPECT_EQ(run().stop, Stop::kTrap);
  // pushfq; or dword [rsp], 0x100; popfq; nop
  write_code({0x9c, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x00, 0x00, 0x9d, 0x90});
  state_.gpr[x86::kRsp] = kData + 0x800;
  EXPECT_EQ(run().stop, Stop::kDebugTrap);
  EXPECT_EQ(state_.rip, kCode + 10);
  state_.rflags &= ~x86::kFlagTf;
  write_code({0x0f, 0x31});  // rdtsc: the guest's counter is another
  EXPECT_EQ(run().stop, Stop::kInstruction);
  EXPECT_EQ(state_.rip, kCode);
}

TEST_F(StubProcessTest, StopsWhenKicked) {
  write_code({0xeb, 0xfe});  // jmp itself
  std::thread kicker([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stub_->kick();
  });
  EXPECT_EQ(run().stop, Stop::kKick);
  EXPECT_EQ(state_.rip, kCode);
  kicker.join();
}

// One that is made while the vCPU's thread is held on a CPU for another lets go of it all the same.
TEST_F(StubProcessTest, LongRunsAreNotHeldOnOneCpu) {
  cpu_set_t allowed;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  write_code({0x0f, 0x0b});  // ud2
  EXPECT_EQ(run().stop, Stop::kInstruction);
  EXPECT_NE(place_.cpu(), HostPlace::kAnywhere);
  auto second = StubProcess::create(*factory_, *memory_, place_);
  ASSERT_TRUE(second);
  stub_ = std::move(*second);
  map(kCode, 0, PROT_READ | PROT_EXEC);
  write_code({0xeb, 0xfe});  // jmp itself
  std::thread kicker([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stub_->kick();
  });
  EXPECT_EQ(run().stop, Stop::kKick);
  kicker.join();
  cpu_set_t now;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(now), &now), 0);
  EXPECT_TRUE(CPU_EQUAL(&now, &allowed));
}

// A kick is for the thread that runs guest code, however young the process is.
TEST_F(StubProcessTest, MayBeKickedAtOnce) {
  for (int i = 0; i < 40; ++i) {
    auto stub = StubProcess::create(*factory_, *memory_, place_);
    ASSERT_TRUE(stub);
    (*stub)->kick();
    stub_ = std::move(*stub);
    write_code({0xeb, 0xfe});
    EXPECT_EQ(run().stop, Stop::kKick);
  }
}

// Guest code that jumps into the stub's own: it may neither map nor open anything.
TEST_F(StubProcessTest, TheStubsOwnCodeGivesGuestCodeNothing) {
  const StubCode code = stub_code();
  u64 syscall_at = 0;
  for (u64 i = kHandlerOffset; i + 1 < code.size && syscall_at == 0; ++i) {
    if (code.start[i] == 0x0f && code.start[i + 1] == 0x05) syscall_at = kStubBase + i;
  }
  for (const u64 call : {u64{SYS_mmap}, u64{SYS_mprotect}, u64{SYS_openat}, u64{SYS_kill}, u64{SYS_futex},
                         u64{SYS_clone}, u64{SYS_exit_group}}) {
    write_code({0xff, 0xe7});  // jmp rdi
    state_.gpr[x86::kRdi] = syscall_at;
    state_.gpr[x86::kRax] = call;
    state_.gpr[15] = kStubBase;
    const StopReport report = run();
    // A SIGSYS, like any other system call.
    EXPECT_EQ(report.stop, Stop::kInstruction) << call;
    EXPECT_EQ(state_.rip, syscall_at) << call;
  }
}

// A return from a signal that never was, with all signals blocked: the vCPU is not lost to it.
TEST_F(StubProcessTest, CodeThatCannotBeStoppedIsEnded) {
  const StubCode code = stub_code();
  u64 last_call = 0;
  for (u64 i = kHandlerOffset; i < code.size; ++i) {
    if (code.start[i] == 0xb8 && code.start[i + 1] == 15) last_call = kStubBase + i;
  }
  ASSERT_NE(last_call, 0u);
  write_code({0xff, 0xe7});  // jmp rdi: rt_sigreturn with the frame at RSP
  // The frame of the guest's making: the stub's last one, with a mask, going to an endless loop.
  auto* frame = static_cast<u8*>(stub_->on_signal_stack(stub_->state().context, 8));
  ASSERT_NE(frame, nullptr);
  ASSERT_TRUE(put_context(*stub_, state_));
  u8* copy = memory_->host(GuestPhys(kPageSize));
  std::memcpy(copy, frame, 0x130);
  const u64 loop = kCode + 16;
  const u8 endless[] = {0xeb, 0xfe};
  std::memcpy(memory_->host(GuestPhys(16)), endless, sizeof(endless));
  std::memcpy(copy + 168, &loop, 8);   // RIP
  std::memset(copy + 0xe0, 0, 8);      // no vector state
  std::memset(copy + 0x128, 0xff, 8);  // every signal blocked
  stub_->set_patience(300);
  state_.gpr[x86::kRdi] = last_call;
  state_.gpr[x86::kRsp] = kData;
  std::thread kicker([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stub_->kick();
  });
  EXPECT_EQ(run().stop, Stop::kLost);
  kicker.join();
}

}  // namespace
}  // namespace doppel::direct
