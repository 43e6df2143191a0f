// The assembly that swaps the whole user-visible register state around one instruction.
#include "tests/differential/native_context.h"

namespace doppel::differential {
static_assert(kContextBase == 0x30000000, "the addresses below are written out");
}

// Every operand is an absolute disp32 address, so loading and storing state needs no scratch register.
asm(R"(
  .text
  .globl doppel_native_enter
doppel_native_enter:
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, 0x30000800
  rdfsbase %rax
  movq %rax, 0x30000808
  rdgsbase %rax
  movq %rax, 0x30000810
  movl $7, %eax
  xorl %edx, %edx
  xrstor64 0x300000c0
  movq 0x30000090, %rax
  wrfsbase %rax
  movq 0x30000098, %rax
  wrgsbase %rax
  pushq 0x30000088
  popfq
  movq 0x30000000, %rax
  movq 0x30000008, %rcx
  movq 0x30000010, %rdx
  movq 0x30000018, %rbx
  movq 0x30000020, %rsp
  movq 0x30000028, %rbp
  movq 0x30000030, %rsi
  movq 0x30000038, %rdi
  movq 0x30000040, %r8
  movq 0x30000048, %r9
  movq 0x30000050, %r10
  movq 0x30000058, %r11
  movq 0x30000060, %r12
  movq 0x30000068, %r13
  movq 0x30000070, %r14
  movq 0x30000078, %r15
  jmpq *0x30000818

  .globl doppel_native_landing
doppel_native_landing:
  movq %rsp, 0x30000420
  movq 0x30000800, %rsp
  movq %rax, 0x30000400
  movq %rcx, 0x30000408
  movq %rdx, 0x30000410
  movq %rbx, 0x30000418
  movq %rbp, 0x30000428
  movq %rsi, 0x30000430
  movq %rdi, 0x30000438
  movq %r8, 0x30000440
  movq %r9, 0x30000448
  movq %r10, 0x30000450
  movq %r11, 0x30000458
  movq %r12, 0x30000460
  movq %r13, 0x30000468
  movq %r14, 0x30000470
  movq %r15, 0x30000478
  pushfq
  popq 0x30000488
  pushq $2
  popfq
  rdfsbase %rax
  movq %rax, 0x30000490
  rdgsbase %rax
  movq %rax, 0x30000498
  movq 0x30000808, %rax
  wrfsbase %rax
  movq 0x30000810, %rax
  wrgsbase %rax
  movl $7, %eax
  xorl %edx, %edx
  xsave64 0x300004c0
.Lresume:
  fninit
  pushq $0x1f80
  ldmxcsr (%rsp)
  popq %rax
  vzeroupper
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret

  .globl doppel_native_resume
doppel_native_resume:
  movq 0x30000800, %rsp
  pushq $2
  popfq
  jmp .Lresume

  .globl doppel_native_signal
doppel_native_signal:
  rdfsbase %rax
  movq %rax, 0x30000490
  rdgsbase %rax
  movq %rax, 0x30000498
  movq 0x30000808, %rax
  wrfsbase %rax
  movq 0x30000810, %rax
  wrgsbase %rax
  jmp doppel_native_fault
)");
