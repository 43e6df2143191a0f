// NativeBackend: mappings, landing pads and the fault handler around native_entry.cc.
#include "tests/differential/native_backend.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/verify.h"
#include "tests/differential/layout.h"
#include "tests/differential/native_context.h"

namespace doppel::differential {
namespace {

constexpr u64 kHwcap2Fsgsbase = 2;
constexpr std::size_t kSignalStackSize = 64 * kKiB;

u8* at(u64 address) { return reinterpret_cast<u8*>(address); }

Result<void> map_fixed(u64 address, u64 size, int protection) {
  void* wanted = at(address);
  void* got =
      mmap(wanted, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);
  if (got != wanted) return fail("mapping {:#x}: {}", address, strerror(errno));
  return {};
}

Result<void> install_handlers() {
  stack_t stack = {};
  stack.ss_sp = mmap(nullptr, kSignalStackSize, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  stack.ss_size = kSignalStackSize;
  if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, nullptr) != 0) return fail("signal stack");
  struct sigaction action = {};
  action.sa_sigaction = reinterpret_cast<void (*)(int, siginfo_t*, void*)>(doppel_native_signal);
  // The handler never returns to the kernel, so the signal must not stay blocked.
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP}) {
    if (sigaction(signal, &action, nullptr) != 0) return fail("sigaction {}", signal);
  }
  return {};
}

// 32-bit code needs real data segments; 64-bit processes start with null ones. FS keeps the host's base.
void load_data_segments() {
  const u16 selector = kUserData;
  asm volatile("movw %0, %%ds\n\tmovw %0, %%es\n\tmovw %0, %%gs" : : "r"(selector));
  asm volatile("rdfsbase %%rax\n\tmovw %0, %%fs\n\twrfsbase %%rax" : : "r"(selector) : "rax");
}

void write_stub() {
  // jmp *[landing]
  const std::array<u8, 7> back = {0xff, 0x24, 0x25, 0x20, 0x08, 0x79, 0x35};
  // jmp far [far_offset]
  const std::array<u8, 7> forth = {0xff, 0x2c, 0x25, 0x28, 0x08, 0x79, 0x35};
  std::memcpy(at(kStubBase), back.data(), back.size());
  std::memcpy(at(kStubBase + 16), forth.data(), forth.size());
}

constexpr std::array<int, 16> kRegisterOrder = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                                REG_R12, REG_R13, REG_R14, REG_R15};

}  // namespace

Result<std::unique_ptr<NativeBackend>> NativeBackend::create() {
  if ((getauxval(AT_HWCAP2) & kHwcap2Fsgsbase) == 0) return fail("the host kernel does not enable FSGSBASE");
  TRY_VOID(map_fixed(kContextBase, align_up(sizeof(NativeContext), kPageSize), PROT_READ | PROT_WRITE));
  TRY_VOID(map_fixed(kCodeBase, kCodeSize, PROT_READ | PROT_WRITE | PROT_EXEC));
  TRY_VOID(map_fixed(kStubBase, kPageSize, PROT_READ | PROT_WRITE | PROT_EXEC));
  TRY_VOID(map_fixed(kDataBase, kDataSize, PROT_READ | PROT_WRITE));
  TRY_VOID(map_fixed(kReadOnlyBase, kReadOnlySize, PROT_READ | PROT_WRITE));
  TRY_VOID(map_fixed(kStackBase, kStackSize, PROT_READ | PROT_WRITE));
  fill_read_only_page({at(kReadOnlyBase), kReadOnlySize});
  mprotect(at(kReadOnlyBase), kReadOnlySize, PROT_READ);
  TRY_VOID(install_handlers());
  load_data_segments();
  write_stub();
  NativeContext& context = native_context();
  context.landing = reinterpret_cast<u64>(doppel_native_landing);
  std::memset(at(kCodeBase), kInt3, kCodeSize);
  return std::unique_ptr<NativeBackend>(new NativeBackend);
}

NativeBackend::~NativeBackend() {
  munmap(at(kContextBase), align_up(sizeof(NativeContext), kPageSize));
  munmap(at(kCodeBase), kCodeSize);
  munmap(at(kStubBase), kPageSize);
  munmap(at(kDataBase), kDataSize + kReadOnlySize);
  munmap(at(kStackBase), kStackSize);
}

void NativeBackend::put_pad(u64 address, u8 index) {
  // 64-bit: movb $index, pad_index; jmp *[landing]. 32-bit: the same with a far jump to the stub.
  const std::array<u8, 15> pad64 = {0xc6, 0x04, 0x25, 0x30, 0x08, 0x79, 0x35, index,
                                    0xff, 0x24, 0x25, 0x20, 0x08, 0x79, 0x35};
  const std::array<u8, 14> pad32 = {0xc6, 0x05, 0x30, 0x08, 0x79, 0x35,        index,
                                    0xea, 0x00, 0x00, 0x01, 0x10, kUserCode64, 0x00};
  const u64 room = kCodeBase + kCodeSize - address;
  if (placement_.is_compat) {
    std::memcpy(at(address), pad32.data(), std::min<u64>(pad32.size(), room));
  } else {
    std::memcpy(at(address), pad64.data(), std::min<u64>(pad64.size(), room));
  }
}

void NativeBackend::place(const Placement& placement) {
  VERIFY(placement.address >= kCodeBase && placement.next() <= kCodeBase + kCodeSize);
  placement_ = placement;
  std::memset(at(kCodeBase), kInt3, kCodeSize);
  if (placement.branch_target != 0) put_pad(placement.branch_target, 1);
  put_pad(placement.next(), 0);
  std::memcpy(at(placement.address), placement.bytes.data(), placement.length);
}

void NativeBackend::run(const UserState& in, std::span<const u8> memory, Outcome& out) {
  NativeContext& context = native_context();
  std::memcpy(at(kDataBase), memory.data(), kDataSize);
  context.in = in;
  context.launch = placement_.is_compat ? kStubBase + 16 : placement_.address;
  context.far_offset = static_cast<u32>(placement_.address);
  context.far_selector = kUserCode32;
  context.vector = Outcome::kNoFault;
  context.error_code = 0;
  context.is_active = 1;
  doppel_native_enter();
  context.is_active = 0;
  if (context.vector == Outcome::kNoFault) {
    context.out.rip = (context.pad_index & 1) != 0 ? placement_.branch_target : placement_.next();
  }
  out.state = context.out;
  out.vector = context.vector;
  out.error_code = context.error_code;
  out.cr2 = context.cr2;
}

std::span<const u8> NativeBackend::window() const { return {at(kDataBase), kDataSize}; }

void fill_read_only_page(std::span<u8> page) {
  u32 value = 1;
  for (u8& byte : page) {
    value = value * 1664525 + 1013904223;
    byte = static_cast<u8>(value >> 24);
  }
}

}  // namespace doppel::differential

// Runs on the signal stack with the host's FS base already back.
extern "C" void doppel_native_fault(int signal, void* /*info*/, void* raw_context) {
  using namespace doppel::differential;
  NativeContext& context = native_context();
  const auto& machine = static_cast<const ucontext_t*>(raw_context)->uc_mcontext;
  const auto rip = static_cast<doppel::u64>(machine.gregs[REG_RIP]);
  // A fault of the harness itself, or of state it cannot load: let the worker die and be reported.
  const bool is_harness = rip >= reinterpret_cast<doppel::u64>(doppel_native_enter) &&
                          rip < reinterpret_cast<doppel::u64>(doppel_native_signal);
  if (context.is_active == 0 || is_harness) {
    ::signal(signal, SIG_DFL);
    return;
  }
  UserState& out = context.out;
  for (std::size_t i = 0; i < kRegisterOrder.size(); ++i) {
    out.gpr[i] = static_cast<doppel::u64>(machine.gregs[kRegisterOrder[i]]);
  }
  out.rip = rip;
  out.rflags = static_cast<doppel::u64>(machine.gregs[REG_EFL]);
  std::memcpy(static_cast<void*>(&out.xsave), machine.fpregs, sizeof(XsaveArea));
  if ((out.xsave.xstate_bv & 4) == 0) out.xsave.ymm_high = {};
  context.vector = static_cast<int>(machine.gregs[REG_TRAPNO]);
  context.error_code = static_cast<doppel::u32>(machine.gregs[REG_ERR]);
  context.cr2 = static_cast<doppel::u64>(machine.gregs[REG_CR2]);
  doppel_native_resume();
}
