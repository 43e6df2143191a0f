// The assembly that swaps the whole user-visible register state around one instruction.
#include "tests/differential/native_context.h"

namespace doppel::differential {
static_assert(kContextBase == 0x35790000, "the addresses below are written out");
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
  movq %rsp, 0x35790800
  rdfsbase %rax
  movq %rax, 0x35790808
  rdgsbase %rax
  movq %rax, 0x35790810
  movl $7, %eax
  xorl %edx, %edx
  xrstor64 0x357900c0
  movq 0x35790090, %rax
  wrfsbase %rax
  movq 0x35790098, %rax
  wrgsbase %rax
  pushq 0x35790088
  popfq
  movq 0x35790000, %rax
  movq 0x35790008, %rcx
  movq 0x35790010, %rdx
  movq 0x35790018, %rbx
  movq 0x35790020, %rsp
  movq 0x35790028, %rbp
  movq 0x35790030, %rsi
  movq 0x35790038, %rdi
  movq 0x35790040, %r8
  movq 0x35790048, %r9
  movq 0x35790050, %r10
  movq 0x35790058, %r11
  movq 0x35790060, %r12
  movq 0x35790068, %r13
  movq 0x35790070, %r14
  movq 0x35790078, %r15
  jmpq *0x35790818

  .globl doppel_native_landing
doppel_native_landing:
  movq %rsp, 0x35790420
  movq 0x35790800, %rsp
  movq %rax, 0x35790400
  movq %rcx, 0x35790408
  movq %rdx, 0x35790410
  movq %rbx, 0x35790418
  movq %rbp, 0x35790428
  movq %rsi, 0x35790430
  movq %rdi, 0x35790438
  movq %r8, 0x35790440
  movq %r9, 0x35790448
  movq %r10, 0x35790450
  movq %r11, 0x35790458
  movq %r12, 0x35790460
  movq %r13, 0x35790468
  movq %r14, 0x35790470
  movq %r15, 0x35790478
  pushfq
  popq 0x35790488
  pushq $2
  popfq
  rdfsbase %rax
  movq %rax, 0x35790490
  rdgsbase %rax
  movq %rax, 0x35790498
  movq 0x35790808, %rax
  wrfsbase %rax
  movq 0x35790810, %rax
  wrgsbase %rax
  movl $7, %eax
  xorl %edx, %edx
  xsave64 0x357904c0
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
  movq 0x35790800, %rsp
  pushq $2
  popfq
  jmp .Lresume

  .globl doppel_native_signal
doppel_native_signal:
  rdfsbase %rax
  movq %rax, 0x35790490
  rdgsbase %rax
  movq %rax, 0x35790498
  movq 0x35790808, %rax
  wrfsbase %rax
  movq 0x35790810, %rax
  wrgsbase %rax
  jmp doppel_native_fault
)");
