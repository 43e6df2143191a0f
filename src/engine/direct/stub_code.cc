// What runs in a stub process beside the guest's own code.
#include <cstddef>

#include "engine/direct/stub_layout.h"

// R15: kStubBase. First the list of system calls, then back to where the last signal came from, or into the
// first signal. A signal notes what its frame does not hold, stops, and goes the same way when the monitor
// has answered.
asm(R"(
  .pushsection .rodata.doppel_stub, "a", @progbits
  .balign 32
doppel_stub_begin:
  movabsq $0x700000000000, %r15
  jmp 2f
  .balign 32
doppel_stub_handler:
  movabsq $0x700000000000, %r15
  movq %rdi, 0x2000(%r15)
  movq %rsi, 0x2008(%r15)
  movq %rdx, 0x2010(%r15)
  rdfsbase %rax
  movq %rax, 0x2018(%r15)
  rdgsbase %rax
  movq %rax, 0x2020(%r15)
  movl $39, %eax
  syscall
2:
  leaq 0x1008(%r15), %r14
  movq 0x1000(%r15), %r13
3:
  testq %r13, %r13
  jz 4f
  movq 0(%r14), %rax
  movq 8(%r14), %rdi
  movq 16(%r14), %rsi
  movq 24(%r14), %rdx
  movq 32(%r14), %r10
  movq 40(%r14), %r8
  movq 48(%r14), %r9
  syscall
  addq $56, %r14
  decq %r13
  jmp 3b
4:
  movq 0x2010(%r15), %rcx
  testq %rcx, %rcx
  jz 5f
  movq 0x2018(%r15), %rax
  wrfsbase %rax
  movq 0x2020(%r15), %rax
  wrgsbase %rax
  movq %rcx, %rsp
  movl $15, %eax
  syscall
5:
  hlt
doppel_stub_end:
  .popsection
)");

extern "C" const unsigned char doppel_stub_begin[];
extern "C" const unsigned char doppel_stub_handler[];
extern "C" const unsigned char doppel_stub_end[];

namespace doppel::direct {

static_assert(kStubBase == 0x7000'0000'0000 && kCallsOffset == 0x1000 && kStateOffset == 0x2000);
static_assert(offsetof(StubCalls, calls) == 8 && sizeof(HostCall) == 56);
static_assert(offsetof(StubState, context) == 0x10 && offsetof(StubState, fs_base) == 0x18 &&
              offsetof(StubState, gs_base) == 0x20);
static_assert(kStopCall == 39 && kHandlerOffset == 32);

StubCode stub_code() {
  return {doppel_stub_begin, static_cast<u64>(doppel_stub_end - doppel_stub_begin)};
}

}  // namespace doppel::direct
