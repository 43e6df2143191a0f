// Code of 64 bits in a 32-bit process: far calls and far jumps into it and back, with all registers compared.
#include "ia32.h"

enum { kRounds = 2000, kNarrow = 0x23, kWide = 0x33, kWays = 3 };

// The kernel's user segments.
#define NARROW "$0x23"
#define WIDE "$0x33"
#define STACK "$0x2b"

__asm__(
    ".text\n.code64\n"
    // Called far. Doubles RAX with its upper half in EDX and gives R8 to R15 and XMM8 to XMM15 new values,
    // made of all.
    "wide_mix:\n"
    "movabsq $0x9e3779b97f4a7c15, %r8\naddq %rax, %r8\nleaq 1(%r8), %r9\nleaq (%r9,%rbx,2), %r10\n"
    "leaq (%r10,%rcx,4), %r11\nleaq (%r11,%rdx,8), %r12\nleaq (%r12,%rsi), %r13\nleaq (%r13,%rdi), %r14\n"
    "leaq (%r14,%rbp,8), %r15\nmovq %r8, %xmm8\nmovq %r9, %xmm9\nmovq %r10, %xmm10\nmovq %r11, %xmm11\n"
    "movq %r12, %xmm12\nmovq %r13, %xmm13\nmovq %r14, %xmm14\nmovq %r15, %xmm15\n"
    "addq %rax, %rax\nmovq %rax, %rdx\nshrq $32, %rdx\nmovl %eax, %eax\nlret\n"
    // Called far. Stores R8 to R15 at RDI and XMM8 to XMM15 behind them.
    "wide_store:\n"
    "movq %r8, (%rdi)\nmovq %r9, 8(%rdi)\nmovq %r10, 16(%rdi)\nmovq %r11, 24(%rdi)\nmovq %r12, 32(%rdi)\n"
    "movq %r13, 40(%rdi)\nmovq %r14, 48(%rdi)\nmovq %r15, 56(%rdi)\nmovq %xmm8, 64(%rdi)\nmovq %xmm9, "
    "72(%rdi)\n"
    "movq %xmm10, 80(%rdi)\nmovq %xmm11, 88(%rdi)\nmovq %xmm12, 96(%rdi)\nmovq %xmm13, 104(%rdi)\n"
    "movq %xmm14, 112(%rdi)\nmovq %xmm15, 120(%rdi)\nlret\n"
    // Jumped to. Squares RAX and goes back to the pointer at RCX, in the way that EDX says.
    "wide_jump:\n"
    "imulq %rax, %rax\nshrq $16, %rax\nmovl (%rcx), %esi\ndecl %edx\njs 1f\njz 2f\n"
    "movl %esp, %edx\npushq " STACK "\npushq %rdx\npushfq\npushq " NARROW
    "\npushq %rsi\niretq\n"
    "1: ljmpl *(%rcx)\n"
    "2: pushq " NARROW
    "\npushq %rsi\nlretq\n"
    ".code32\n"
    // Called far in both modes: DEC EAX; MOV ECX, EAX or MOV RCX, RAX.
    "both:\n"
    ".byte 0x48, 0x89, 0xc1\nlret\n");

// The registers that wide_mix leaves.
static void check_high(const uint64_t found[16], const uint32_t in[7]) {
  uint64_t wanted = 0x9e3779b97f4a7c15 + in[0];
  static const unsigned factors[] = {0, 0, 2, 4, 8, 1, 1, 8};
  for (unsigned i = 0; i < 8; i++) {
    if (i == 1) wanted++;
    if (i >= 2) wanted += (uint64_t)in[i - 1] * factors[i];
    expect("R8 to R15", found[i], wanted);
    expect("XMM8 to XMM15", found[8 + i], wanted);
  }
}

static void call_wide(uint64_t* state) {
  static uint32_t in[7], ebp_after;
  uint64_t found[16];
  for (unsigned i = 0; i < 7; i++) in[i] = next_operand(state);
  uint32_t eax = in[0], ebx = in[1], ecx = in[2], edx = in[3], esi = in[4], edi = in[5];
  __asm__ volatile("pushl %%ebp\nmovl %c[in]+24, %%ebp\nlcall " WIDE
                   ", $wide_mix\nmovl %%ebp, %c[after]\npopl %%ebp"
                   : "+a"(eax), "+b"(ebx), "+c"(ecx), "+d"(edx), "+S"(esi), "+D"(edi)
                   : [in] "i"(in), [after] "i"(&ebp_after)
                   : "cc", "memory");
  expect("EAX", eax, in[0] * 2);
  expect("EDX", edx, in[0] >> 31);
  expect("EBX", ebx, in[1]);
  expect("ECX", ecx, in[2]);
  expect("ESI", esi, in[4]);
  expect("EDI", edi, in[5]);
  expect("EBP", ebp_after, in[6]);
  __asm__ volatile("lcall " WIDE ", $wide_store" : : "D"(found) : "memory");
  check_high(found, in);
}

static void jump_wide(uint32_t number, uint32_t way) {
  struct {
    uint32_t offset;
    uint16_t selector;
  } back = {0, kNarrow};
  uint32_t eax = number, edx = way, stack_moved;
  uint16_t selector;
  __asm__ volatile("movl %%esp, %%edi\nmovl $1f, (%%ecx)\nljmp " WIDE
                   ", $wide_jump\n1: subl %%esp, %%edi\nmovw %%cs, %[selector]"
                   : "+a"(eax), "+d"(edx), "=&D"(stack_moved), [selector] "=r"(selector)
                   : "c"(&back)
                   : "esi", "cc", "memory");
  expect("square", eax, (uint32_t)((uint64_t)number * number >> 16));
  expect("stack", stack_moved, 0);
  expect("CS", selector, kNarrow);
}

// The same bytes at the same address mean something else in each mode.
static void call_both(uint32_t number) {
  uint32_t eax = number, ecx;
  __asm__ volatile("lcall " WIDE ", $both" : "+a"(eax), "=c"(ecx) : : "cc", "memory");
  expect("ECX of 64 bits", ecx, number);
  expect("EAX of 64 bits", eax, number);
  __asm__ volatile("lcall " NARROW ", $both" : "+a"(eax), "=c"(ecx) : : "cc", "memory");
  expect("ECX of 32 bits", ecx, number - 1);
  expect("EAX of 32 bits", eax, number - 1);
}

void change_modes(void) {
  uint64_t state = 3;
  for (uint32_t i = 0; i < kRounds; i++) {
    call_wide(&state);
    jump_wide(next_operand(&state), i % kWays);
    call_both(next_operand(&state));
  }
}
