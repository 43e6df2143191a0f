// Segments that are not flat: thread-local storage behind GS, entries of the GDT and the LDT with bases and
// limits, code in a segment with a base.
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ia32.h"

enum { kPage = 4096, kData = 0, kCode = 1, kOtherCode = 2, kCalls = 300, kThreads = 3, kSteps = 20000 };

static __thread uint32_t counter = 0x1234;
static __thread char text[40] = "of this thread";
static sigjmp_buf after_fault;

static void* map(int protection) {
  void* memory = mmap(NULL, kPage, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stop_if(memory == MAP_FAILED, "mmap");
  return memory;
}

static void leave_fault(int number) {
  (void)number;
  siglongjmp(after_fault, 1);
}

// A selector of an entry in the LDT.
static uint16_t set_ldt(unsigned entry, const void* base, unsigned limit, int is_code) {
  struct user_desc descriptor = {.entry_number = entry,
                                 .base_addr = (uintptr_t)base,
                                 .limit = limit,
                                 .seg_32bit = 1,
                                 .contents = is_code ? MODIFY_LDT_CONTENTS_CODE : MODIFY_LDT_CONTENTS_DATA,
                                 .useable = 1};
  stop_if(syscall(SYS_modify_ldt, 1, &descriptor, sizeof descriptor) != 0, "modify_ldt");
  return (uint16_t)(entry << 3 | 7);
}

static uint32_t read_fs(uint32_t offset) {
  uint32_t value;
  __asm__ volatile("movl %%fs:(%1), %0" : "=r"(value) : "r"(offset) : "memory");
  return value;
}

static void load_fs(uint16_t selector) { __asm__ volatile("movw %0, %%fs" : : "r"(selector) : "memory"); }

static void use_gdt_entry(uint32_t* memory) {
  struct user_desc descriptor = {.entry_number = (unsigned)-1,
                                 .base_addr = (uintptr_t)memory,
                                 .limit = 0xfffff,
                                 .seg_32bit = 1,
                                 .limit_in_pages = 1,
                                 .useable = 1};
  memory[5] = 0xfeed0005;
  stop_if(syscall(SYS_set_thread_area, &descriptor) != 0, "set_thread_area");
  load_fs((uint16_t)(descriptor.entry_number << 3 | 3));
  expect("entry of the GDT", read_fs(20), 0xfeed0005);
  usleep(1000);
  expect("entry of the GDT after a switch", read_fs(20), 0xfeed0005);
  load_fs(0);
}

// What is beyond a segment's limit is out of reach, however it is addressed.
static void respect_limit(uint32_t* memory) {
  struct sigaction action = {.sa_handler = leave_fault}, before;
  stop_if(sigaction(SIGSEGV, &action, &before) != 0, "sigaction");
  load_fs(set_ldt(kData, memory, 99, 0));
  memory[24] = 0xfeed0024;
  expect("last word below the limit", read_fs(96), 0xfeed0024);
  static volatile uint32_t faults;
  for (uint32_t offset = 97; offset < 107; offset++) {
    if (sigsetjmp(after_fault, 1) == 0) {
      read_fs(offset);
    } else {
      faults++;
    }
  }
  expect("faults beyond the limit", faults, 10);
  if (sigsetjmp(after_fault, 1) == 0) {
    __asm__ volatile("movl $1, %%fs:(%0)" : : "r"(kPage) : "memory");
    expect("a write beyond the limit", 0, 1);
  }
  load_fs(0);
  if (sigsetjmp(after_fault, 1) == 0) {
    read_fs(0);
    expect("a null segment", 0, 1);
  }
  sigaction(SIGSEGV, &before, NULL);
}

// At the same offsets of two segments with other bases is other code.
static void run_segments(void) {
  static const uint8_t code[] = {0xb8, 0,    0,    0, 0,
                                 0x03, 0x44, 0x24, 8, 0xcb};  // mov eax, N; add eax, [esp + 8]; retf
  uint8_t *first = map(PROT_READ | PROT_WRITE | PROT_EXEC), *second = map(PROT_READ | PROT_WRITE | PROT_EXEC);
  memcpy(first + 64, code, sizeof code);
  memcpy(second + 64, code, sizeof code);
  first[65] = 1;
  second[65] = 100;
  const struct {
    uint32_t offset;
    uint16_t selector;
  } __attribute__((packed)) targets[] = {{64, set_ldt(kCode, first, kPage - 1, 1)},
                                         {64, set_ldt(kOtherCode, second, kPage - 1, 1)},
                                         {(uintptr_t)first + 64, 0x23}};
  uint32_t sum = 0;
  for (uint32_t i = 0; i < kCalls; i++) {
    __asm__ volatile("pushl %0\nlcall *(%1)\nleal 4(%%esp), %%esp\nmovl %%eax, %0"
                     : "+r"(sum)
                     : "r"(&targets[i % 3])
                     : "eax", "cc", "memory");
  }
  expect("code with bases", sum, kCalls / 3 * (1 + 100 + 1));
}

void use_segments(void) {
  uint32_t* memory = map(PROT_READ | PROT_WRITE);
  expect("thread-local number", counter++, 0x1234);
  expect("thread-local text", (uint64_t)strcmp(text, "of this thread"), 0);
  use_gdt_entry(memory);
  respect_limit(memory);
  run_segments();
}

static void* count_up(void* argument) {
  const uint32_t step = (uint32_t)(uintptr_t)argument;
  for (uint32_t i = 0; i < kSteps; i++) {
    *(volatile uint32_t*)&counter += step;
    if (i % (kSteps / 8) == 0) sched_yield();
    text[i % sizeof text] = (char)step;
  }
  expect("a thread's text", (uint8_t)text[7], step);
  return (void*)(uintptr_t)counter;
}

void use_threads(void) {
  pthread_t threads[kThreads];
  counter = 5;
  for (uintptr_t i = 0; i < kThreads; i++) {
    stop_if(pthread_create(&threads[i], NULL, count_up, (void*)(i + 1)) != 0, "pthread_create");
  }
  for (uint32_t i = 0; i < kThreads; i++) {
    void* counted;
    stop_if(pthread_join(threads[i], &counted) != 0, "pthread_join");
    expect("a thread's number", (uintptr_t)counted, 0x1234 + (i + 1) * kSteps);
  }
  expect("the first thread's number", counter, 5);
}
