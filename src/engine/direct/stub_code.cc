// What runs in a stub process beside the guest's own code.
#include <cstddef>

#include "engine/direct/stub_layout.h"

// R15 is kStubBase. The first thread makes the mapper, goes under its filter, does the first calls, and into
// its first signal. A signal notes what its frame does not hold, stops until the monitor has answered, and
// returns. The mapper does lists of calls; it shares the pages, but guest code never runs on it.
asm(R"(
  .pushsection .rodata.doppel_stub, "a", @progbits

  .macro do_calls
  leaq 0x1010(%r15), %r14
  movq 0x1008(%r15), %r13
1:
  testq %r13, %r13
  jz 2f
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
  jmp 1b
2:
  .endm

  .balign 32
doppel_stub_begin:
  movabsq $0x700000000000, %r15
  jmp start

  .balign 32
doppel_stub_handler:
  movabsq $0x700000000000, %r15
  movq %rdi, 0x3000(%r15)
  movq %rsi, 0x3008(%r15)
  movq %rdx, 0x3010(%r15)
  rdfsbase %rax
  movq %rax, 0x3018(%r15)
  rdgsbase %rax
  movq %rax, 0x3020(%r15)
  movl %ds, %eax
  movw %ax, 0x3040(%r15)
  movl %es, %eax
  movw %ax, 0x3042(%r15)
  movl %fs, %eax
  movw %ax, 0x3044(%r15)
  movl %gs, %eax
  movw %ax, 0x3046(%r15)
  movl $39, %eax
  syscall
  cmpq $0, 0x3040(%r15)
  je 1f
  xorl %eax, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %fs
  movl %eax, %gs
1:
  movq 0x3018(%r15), %rax
  wrfsbase %rax
  movq 0x3020(%r15), %rax
  wrgsbase %rax
  movq 0x3010(%r15), %rsp
  movl $15, %eax
  syscall
  hlt

start:
  movl $56, %eax        # clone: VM, FS, SIGHAND, THREAD, SYSVSEM
  movl $0x50b00, %edi
  xorl %esi, %esi
  xorl %edx, %edx
  xorl %r10d, %r10d
  xorl %r8d, %r8d
  syscall
  testq %rax, %rax
  jz mapper
  movq %rax, 0x3028(%r15)
  movl $317, %eax       # seccomp: a filter with a listener
  movl $1, %edi
  movl $8, %esi
  leaq 0x2000(%r15), %rdx
  syscall
  movq %rax, 0x3030(%r15)
  do_calls
  hlt

mapper:
  movl $317, %eax
  movl $1, %edi
  xorl %esi, %esi
  leaq 0x2010(%r15), %rdx
  syscall
  testq %rax, %rax
  jnz 9f
  xorl %ebp, %ebp
3:
  movl 0x1000(%r15), %ebx
  cmpl %ebx, %ebp
  jne 4f
  movl $202, %eax       # futex: wait
  leaq 0x1000(%r15), %rdi
  xorl %esi, %esi
  movl %ebp, %edx
  xorl %r10d, %r10d
  syscall
  jmp 3b
4:
  movl %ebx, %ebp
  do_calls
  movl %ebp, 0x3038(%r15)
  movl $202, %eax       # futex: wake
  leaq 0x3038(%r15), %rdi
  movl $1, %esi
  movl $1, %edx
  syscall
  jmp 3b
9:
  movl $60, %eax
  syscall
  hlt
doppel_stub_end:
  .popsection
)");

extern "C" const unsigned char doppel_stub_begin[];
extern "C" const unsigned char doppel_stub_handler[];
extern "C" const unsigned char doppel_stub_end[];

namespace doppel::direct {

static_assert(kStubBase == 0x7000'0000'0000 && kCallsOffset == 0x1000 && kFiltersOffset == 0x2000 &&
              kStateOffset == 0x3000);
static_assert(offsetof(StubCalls, count) == 8 && offsetof(StubCalls, calls) == 16 && sizeof(HostCall) == 56);
static_assert(offsetof(StubFilters, runner) == 0 && offsetof(StubFilters, mapper) == 0x10);
static_assert(offsetof(StubState, context) == 0x10 && offsetof(StubState, fs_base) == 0x18 &&
              offsetof(StubState, gs_base) == 0x20 && offsetof(StubState, mapper) == 0x28 &&
              offsetof(StubState, listener) == 0x30 && offsetof(StubState, done) == 0x38 &&
              offsetof(StubState, selectors) == 0x40);
static_assert(kStopCall == 39 && kHandlerOffset == 32);

StubCode stub_code() { return {doppel_stub_begin, static_cast<u64>(doppel_stub_end - doppel_stub_begin)}; }

}  // namespace doppel::direct
