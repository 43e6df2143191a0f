// Faults and what a handler sees of them, ways into the kernel, jumps out of handlers, interrupts at any
// instruction.
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "ia32.h"

enum { kPage = 4096, kTrapFlag = 0x100, kFaults = 50, kCalls = 500, kTicks = 20 };

static volatile siginfo_t seen;
static volatile uint32_t seen_count, seen_eip, seen_trap, skipped_bytes;
static sigjmp_buf outside;

static void note(int number, siginfo_t* info, void* context) {
  ucontext_t* state = context;
  (void)number;
  memcpy((void*)&seen, info, sizeof seen);
  seen_count++;
  seen_eip = (uint32_t)state->uc_mcontext.gregs[REG_EIP];
  seen_trap = (uint32_t)state->uc_mcontext.gregs[REG_TRAPNO];
  state->uc_mcontext.gregs[REG_EIP] += (greg_t)skipped_bytes;
  state->uc_mcontext.gregs[REG_EDX] = 0xd00d;
}

static void handle(int number, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  stop_if(sigaction(number, &action, NULL) != 0, "sigaction");
}

// Executes a faulting instruction of so many bytes with ECX = `where`, EAX = 1 and EDX = 0. The handler goes
// on behind it, with another EDX.
#define FAULT(bytes, text, where)                \
  do {                                           \
    uint32_t at, edx = 0;                        \
    skipped_bytes = (bytes);                     \
    __asm__ volatile("movl $1f, %[at]\n1: " text \
                     : [at] "=&S"(at), "+d"(edx) \
                     : "c"(where), "a"(1)        \
                     : "cc", "memory");          \
    expect(text ", where", seen_eip, at);        \
    expect(text ", EDX", edx, 0xd00d);           \
  } while (0)

static void expect_signal(int number, int code, unsigned trap) {
  expect("signal", (unsigned)seen.si_signo, (unsigned)number);
  expect("its code", (unsigned)seen.si_code, (unsigned)code);
  expect("its trap", seen_trap, trap);
}

static void fault_once(uint8_t* page) {
  static const int32_t bounds[2] = {5, 9};
  FAULT(2, ".byte 0x89, 0x01", page + 123);  // mov [ecx], eax
  expect_signal(SIGSEGV, SEGV_ACCERR, 14);
  expect("address", (uintptr_t)seen.si_addr, (uintptr_t)page + 123);
  FAULT(2, ".byte 0x8b, 0x01", 0xfffffff0u);  // mov eax, [ecx]: the kernel's
  expect("address of the kernel", (uintptr_t)seen.si_addr, 0xfffffff0u);
  FAULT(2, ".byte 0xf7, 0xf2", 0);  // div edx
  expect_signal(SIGFPE, FPE_INTDIV, 0);
  FAULT(2, "ud2", 0);
  expect_signal(SIGILL, ILL_ILLOPN, 6);
  FAULT(1, "hlt", 0);
  expect_signal(SIGSEGV, SI_KERNEL, 13);
  FAULT(2, ".byte 0x62, 0x01", bounds);  // bound eax, [ecx]
  expect_signal(SIGSEGV, SI_KERNEL, 5);
  FAULT(2, ".byte 0x8e, 0xe9", 0x1234);  // mov gs, ecx: beyond the table
  expect_signal(SIGSEGV, SI_KERNEL, 13);
}

// Traps are reported behind their instruction.
static void trap_once(void) {
  uint32_t behind, edx = 0;
  skipped_bytes = 0;
  __asm__ volatile("movl $1f, %0\nint3\n1:" : "=&S"(behind), "+d"(edx) : : "memory");
  expect("behind int3", seen_eip, behind);
  expect_signal(SIGTRAP, SI_KERNEL, 3);
  __asm__ volatile("movl $1f, %0\nmovb $127, %%al\nincb %%al\ninto\n1:"
                   : "=&S"(behind), "+d"(edx)
                   :
                   : "eax", "cc", "memory");
  expect("behind into", seen_eip, behind);
  expect_signal(SIGSEGV, SI_KERNEL, 4);
}

static volatile uint32_t stepped_bytes;

static void step(int number, siginfo_t* info, void* context) {
  const ucontext_t* state = context;
  const uint32_t eip = (uint32_t)state->uc_mcontext.gregs[REG_EIP];
  stepped_bytes += eip - seen_eip;
  seen_eip = eip;
  seen_count++;
  expect("step", (unsigned)info->si_code, TRAP_TRACE);
  (void)number;
}

static void step_through(void) {
  uint32_t start, end, count = 4;
  handle(SIGTRAP, step, 0);
  seen_count = stepped_bytes = 0;
  __asm__ volatile(
      "movl $1f, %0\nmovl $2f, %1\nmovl %0, %3\npushfl\norl %4, (%%esp)\npopfl\n1: nop\n3: incl %%edx\npushl "
      "%%edx\npopl %%eax\n"
      "loop 3b\npushfl\nandl %5, (%%esp)\npopfl\n2:"
      : "=&S"(start), "=&D"(end), "+c"(count), "+m"(*(uint32_t*)&seen_eip)
      : "i"(kTrapFlag), "i"(~kTrapFlag)
      : "eax", "edx", "cc", "memory");
  expect("steps", seen_count, 1 + 4 * 4 + 3);
  expect("their bytes", stepped_bytes, end - start);
}

void take_faults(void) {
  static uint8_t stack[1 << 16];
  const stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
  uint8_t* page = mmap(NULL, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stop_if(page == MAP_FAILED || sigaltstack(&other, NULL) != 0, "mmap");
  static const int numbers[] = {SIGSEGV, SIGFPE, SIGILL, SIGTRAP};
  for (unsigned i = 0; i < kFaults; i++) {
    for (unsigned j = 0; j < sizeof numbers / sizeof numbers[0]; j++)
      handle(numbers[j], note, i & 1 ? SA_ONSTACK : 0);
    seen_count = 0;
    fault_once(page);
    trap_once();
    expect("faults", seen_count, 9);
  }
  step_through();
}

static uint32_t interrupt_80(uint32_t number, uint32_t first, uint32_t second, uint32_t third) {
  uint32_t result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
  return result;
}

// __kernel_vsyscall: SYSENTER, SYSCALL or INT 80h, whatever the kernel takes for best.
static uint32_t vsyscall(uint32_t number, uint32_t first, uint32_t second, uint32_t third) {
  uint32_t result;
  __asm__ volatile("call *%5"
                   : "=a"(result)
                   : "a"(number), "b"(first), "c"(second), "d"(third), "S"(getauxval(AT_SYSINFO))
                   : "memory", "cc");
  return result;
}

// Six arguments, the last in EBP.
static uint32_t map_with_six(int is_vsyscall, uint32_t entry) {
  const uint32_t arguments[] = {SYS_mmap2,    0,   kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
                                (uint32_t)-1, 0x40};
  uint32_t result;
  __asm__ volatile(
      "pushl %%ebp\npushl %%ebx\npushl %3\nmovl (%1), %%eax\nmovl 4(%1), %%ebx\nmovl 8(%1), %%ecx\nmovl "
      "12(%1), %%edx\n"
      "movl 20(%1), %%edi\nmovl 24(%1), %%ebp\ntestl %2, %2\nmovl 16(%1), %%esi\njz 1f\ncall *(%%esp)\njmp "
      "2f\n"
      "1: int $0x80\n2: popl %%ebx\npopl %%ebx\ncmpl $0x40, %%ebp\npopl %%ebp\nje 3f\nmovl $-1, %%eax\n3:"
      : "=&a"(result)
      : "S"(arguments), "D"(is_vsyscall), "d"(entry)
      : "ecx", "cc", "memory");
  return result;
}

void call_the_kernel(void) {
  const uint32_t self = (uint32_t)getpid();
  struct timespec before, after;
  char text[4] = "";
  int ends[2];
  stop_if(pipe(ends) != 0 || getauxval(AT_SYSINFO) == 0, "vdso");
  clock_gettime(CLOCK_MONOTONIC, &before);
  for (uint32_t i = 0; i < kCalls; i++) {
    expect("getpid by interrupt", interrupt_80(SYS_getpid, 0, 0, 0), self);
    expect("getpid by vdso", vsyscall(SYS_getpid, 0, 0, 0), self);
    expect("an error by interrupt", interrupt_80(SYS_close, 0xffff, 0, 0), (uint32_t)-9);
    expect("an error by vdso", vsyscall(SYS_close, 0xffff, 0, 0), (uint32_t)-9);
    expect("write by vdso", vsyscall(SYS_write, (uint32_t)ends[1], (uintptr_t)"abc", 3), 3);
    expect("read by interrupt", interrupt_80(SYS_read, (uint32_t)ends[0], (uintptr_t)text, 3), 3);
    clock_gettime(CLOCK_MONOTONIC, &after);
    expect("time",
           after.tv_sec > before.tv_sec || (after.tv_sec == before.tv_sec && after.tv_nsec >= before.tv_nsec),
           1);
    before = after;
  }
  expect("what was read", (uint64_t)strcmp(text, "abc"), 0);
  for (int is_vsyscall = 0; is_vsyscall < 2; is_vsyscall++) {
    const uint32_t memory = map_with_six(is_vsyscall, (uint32_t)getauxval(AT_SYSINFO));
    expect("mmap with six arguments", memory < 0xfffff000u && (memory & (kPage - 1)) == 0, 1);
    munmap((void*)(uintptr_t)memory, kPage);
  }
}

static void leave(int number, siginfo_t* info, void* context) {
  (void)info;
  (void)context;
  siglongjmp(outside, number);
}

__attribute__((noinline)) static void dive(jmp_buf* surface, volatile uint32_t depth) {
  if (depth == 0) longjmp(*surface, 77);
  dive(surface, depth - 1);
  depth++;
}

void jump_out(void) {
  jmp_buf surface;
  static volatile uint32_t jumps;
  handle(SIGUSR1, leave, 0);
  handle(SIGSEGV, leave, SA_ONSTACK);
  jumps = 0;
  for (volatile uint32_t i = 0; i < kCalls; i++) {
    const int value = setjmp(surface);
    if (value == 0) dive(&surface, i % 20);
    expect("longjmp's value", (unsigned)value, 77);
    if (sigsetjmp(outside, 1) == 0) {
      kill(getpid(), SIGUSR1);
    } else {
      jumps++;
    }
    if (sigsetjmp(outside, 1) == 0) {
      *(volatile uint32_t*)8 = 1;
    } else {
      jumps++;
    }
  }
  expect("jumps out of handlers", jumps, 2 * kCalls);
}

static volatile uint32_t ticks;

// Uses what the interrupted code may be using.
static void tick(int number, siginfo_t* info, void* context) {
  (void)number, (void)info, (void)context;
  __asm__ volatile("movl $1, %%ecx\nstd\ncld\nfninit\nfldz\npxor %%xmm3, %%xmm3\naddl $-1, %%ecx"
                   :
                   : "a"(0), "d"(0), "S"(0), "D"(0)
                   : "ecx", "cc", "st", "memory");
  ticks++;
}

// Registers, flags, x87 and SSE while a timer interrupts again and again.
void be_interrupted(void) {
  const struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
  handle(SIGALRM, tick, SA_RESTART);
  ticks = 0;
  stop_if(setitimer(ITIMER_REAL, &often, NULL) != 0, "setitimer");
  for (uint32_t round = 0; ticks < kTicks && round < 1000000; round++) {
    uint32_t sum = 0, count = 3000, wide = 0, x87 = 0;
    __asm__ volatile(
        "movl $0x11111111, %%esi\nmovd %%esi, %%xmm3\nfld1\nfldz\nstc\n"
        "1: adcl %%esi, %%eax\nadcl $0, %%eax\nfadd %%st(1), %%st\nleal -1(%%ecx), %%ecx\njecxz 2f\njmp 1b\n"
        "2: fistpl %[x87]\nfstp %%st(0)\nmovd %%xmm3, %[wide]"
        : "+a"(sum), "+c"(count), [wide] "=&d"(wide), [x87] "=m"(x87)
        :
        : "esi", "cc", "memory", "st", "st(1)");
    expect("xmm3", wide, 0x11111111);
    expect("x87", x87, 3000);
    static uint32_t first;
    if (first == 0) first = sum;
    expect("sum", sum, first);
  }
  setitimer(ITIMER_REAL, &never, NULL);
  expect("ticks", ticks >= kTicks, 1);
}
