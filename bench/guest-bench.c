// The CPU, memory and kernel benchmark that runs as init in a guest and, with --native, as a process on the
// host.
//
// Prints `start NAME` before and `bench NAME SECONDS CHECK` after each part, so that a host that watches the
// console can take wall time even where the guest's clock does not follow it. CHECK is a result that must be
// the same on every machine.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { kMegabyte = 1 << 20 };

static uint64_t random_state = 88172645463325252u;

// xorshift64: the same sequence in every run.
static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static void stop_if(int failed, const char* what) {
  if (failed) {
    perror(what);
    exit(1);
  }
}

static uint8_t* arena;
static size_t arena_used;

// Memory from an arena touched before the first part, so that only page_touches pays for page faults.
static void* pages(size_t bytes) {
  void* memory = arena + arena_used;
  arena_used += bytes;
  return memory;
}

static void touch_arena(void) {
  const size_t size = 16 * kMegabyte;
  arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stop_if(arena == MAP_FAILED, "mmap");
  memset(arena, 1, size);
}

static uint64_t crc32_bytewise(void) {
  static uint32_t table[256];
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t entry = i;
    for (int bit = 0; bit < 8; bit++) entry = (entry >> 1) ^ (entry & 1 ? 0xEDB88320u : 0);
    table[i] = entry;
  }
  const size_t size = 4 * kMegabyte;
  const uint8_t* data = pages(size);
  uint32_t crc = ~0u;
  for (size_t i = 0; i < size; i++) crc = (crc >> 8) ^ table[(crc ^ data[i]) & 0xff];
  return ~crc;
}

static uint64_t primes_by_division(void) {
  unsigned count = 0;
  for (unsigned candidate = 2; candidate < 8000; candidate++) {
    unsigned divisor = 2;
    while (divisor < candidate && candidate % divisor != 0) divisor++;
    count += divisor == candidate;
  }
  return count;
}

static int compare_ints(const void* left, const void* right) {
  const int a = *(const int*)left, b = *(const int*)right;
  return (a > b) - (a < b);
}

static uint64_t qsort_ints(void) {
  const size_t count = 1000000;
  int* values = pages(count * sizeof *values);
  for (size_t i = 0; i < count; i++) values[i] = (int)next_random();
  qsort(values, count, sizeof *values, compare_ints);
  return (uint32_t)values[count / 2];
}

static uint64_t matrix_product(void) {
  enum { kSize = 128, kRounds = 5 };
  static double a[kSize][kSize], b[kSize][kSize], c[kSize][kSize];
  for (int i = 0; i < kSize; i++) {
    for (int j = 0; j < kSize; j++) a[i][j] = i + j, b[i][j] = i - j;
  }
  for (int round = 0; round < kRounds; round++) {
    for (int i = 0; i < kSize; i++) {
      for (int j = 0; j < kSize; j++) {
        for (int k = 0; k < kSize; k++) c[i][j] += a[i][k] * b[k][j];
      }
    }
  }
  return (uint64_t)(int64_t)c[kSize / 2][kSize / 3];
}

__attribute__((noinline)) static unsigned fibonacci(volatile unsigned n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static uint64_t fib_30(void) { return fibonacci(30); }

static uint64_t add_one(uint64_t x) { return x + 1; }
static uint64_t add_two(uint64_t x) { return x + 2; }
static uint64_t mix(uint64_t x) { return x ^ (x >> 3); }
static uint64_t triple(uint64_t x) { return x * 3; }

static uint64_t indirect_calls(void) {
  static uint64_t (*volatile const functions[4])(uint64_t) = {add_one, add_two, mix, triple};
  uint64_t value = 1;
  for (unsigned i = 0; i < 20000000; i++) value = functions[i & 3](value);
  return value;
}

static uint64_t pointer_chase(void) {
  const size_t count = 4 * kMegabyte / sizeof(uint32_t);
  uint32_t* next = pages(count * sizeof *next);
  for (size_t i = 0; i < count; i++) next[i] = (uint32_t)((i + 7919 * 16) % count);
  uint32_t at = 0;
  for (unsigned step = 0; step < 2000000; step++) at = next[at];
  return at;
}

static uint64_t memory_copy(void) {
  const size_t size = 4 * kMegabyte;
  uint8_t* from = pages(size);
  uint8_t* to = pages(size);
  for (unsigned round = 0; round < 64; round++) {
    from[round] = (uint8_t)round;
    memcpy(to, from, size);
    __asm__ volatile("" ::: "memory");
  }
  return to[63];
}

static uint64_t system_calls(void) {
  long sum = 0;
  for (unsigned i = 0; i < 200000; i++) sum += syscall(SYS_getppid) != 0;
  return sum == 0 || sum == 200000;
}

static uint64_t page_touches(void) {
  const size_t size = 20000 * 4096;
  volatile uint8_t* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stop_if(memory == MAP_FAILED, "mmap");
  madvise((void*)memory, size, MADV_NOHUGEPAGE);
  for (size_t offset = 0; offset < size; offset += 4096) memory[offset] = 1;
  munmap((void*)memory, size);
  return 20000;
}

static uint64_t fork_and_wait(void) {
  unsigned exited = 0;
  for (unsigned i = 0; i < 300; i++) {
    const pid_t child = fork();
    stop_if(child < 0, "fork");
    if (child == 0) _exit(0);
    int status = 0;
    exited += waitpid(child, &status, 0) == child && status == 0;
  }
  return exited;
}

static uint64_t pipe_round_trips(void) {
  int to_child[2], to_parent[2];
  stop_if(pipe(to_child) != 0 || pipe(to_parent) != 0, "pipe");
  const pid_t child = fork();
  stop_if(child < 0, "fork");
  char byte = 0;
  if (child == 0) {
    close(to_child[1]);
    while (read(to_child[0], &byte, 1) == 1 && write(to_parent[1], &byte, 1) == 1) continue;
    _exit(0);
  }
  unsigned trips = 0;
  for (unsigned i = 0; i < 5000; i++) {
    trips += write(to_child[1], &byte, 1) == 1 && read(to_parent[0], &byte, 1) == 1;
  }
  close(to_child[1]);
  waitpid(child, NULL, 0);
  return trips;
}

struct benchmark {
  const char* name;
  uint64_t (*run)(void);
};

static const struct benchmark kBenchmarks[] = {
    {"crc32", crc32_bytewise},
    {"primes", primes_by_division},
    {"qsort", qsort_ints},
    {"matrix", matrix_product},
    {"fib", fib_30},
    {"indirect_calls", indirect_calls},
    {"pointer_chase", pointer_chase},
    {"memcpy", memory_copy},
    {"getppid", system_calls},
    {"page_touches", page_touches},
    {"fork_wait", fork_and_wait},
    {"pipe_trips", pipe_round_trips},
};

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void run_all(void) {
  touch_arena();
  for (size_t i = 0; i < sizeof kBenchmarks / sizeof kBenchmarks[0]; i++) {
    printf("start %s\n", kBenchmarks[i].name);
    tcdrain(STDOUT_FILENO);  // the console is idle, and the host knows, before the clock starts
    arena_used = 0;
    const double start = seconds();
    const uint64_t check = kBenchmarks[i].run();
    printf("bench %s %.6f %llx\n", kBenchmarks[i].name, seconds() - start, (unsigned long long)check);
  }
  printf("bench-done\n");
  tcdrain(STDOUT_FILENO);
}

static void print_uptime(void) {
  mkdir("/proc", 0755);
  mount("proc", "/proc", "proc", 0, NULL);
  FILE* file = fopen("/proc/uptime", "r");
  double uptime = 0;
  if (file == NULL || fscanf(file, "%lf", &uptime) != 1) uptime = -1;
  printf("doppel-init: reached, uptime %.2f\n", uptime);
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc > 1 && strcmp(argv[1], "--native") == 0) {
    run_all();
    return 0;
  }
  if (getpid() != 1) {
    fprintf(stderr, "guest-bench: run as init of a guest, or with --native\n");
    return 2;
  }
  print_uptime();
  run_all();
  sync();
  reboot(RB_POWER_OFF);
  return 1;
}
