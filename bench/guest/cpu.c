// Parts that only compute, one thing each: arithmetic, branches, calls, memory.
#include <stdlib.h>
#include <string.h>

#include "bench.h"

uint32_t crc32_of(uint32_t crc, const void* data, size_t size) {
  static uint32_t table[256];
  if (table[1] == 0) {
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t entry = i;
      for (int bit = 0; bit < 8; bit++) entry = (entry >> 1) ^ (entry & 1 ? 0xEDB88320u : 0);
      table[i] = entry;
    }
  }
  const uint8_t* bytes = data;
  crc = ~crc;
  for (size_t i = 0; i < size; i++) crc = (crc >> 8) ^ table[(crc ^ bytes[i]) & 0xff];
  return ~crc;
}

static uint64_t crc32_bytewise(void) {
  const size_t size = 4 * kMegabyte;
  uint8_t* data = pages(size);
  memset(data, 1, size);
  uint32_t crc = 0;
  for (int round = 0; round < 3; round++) crc = crc32_of(crc, data, size);
  return crc;
}

static uint64_t primes_by_division(void) {
  unsigned count = 0;
  for (unsigned candidate = 2; candidate < 14000; candidate++) {
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
  const size_t count = 500000;
  int* values = pages(count * sizeof *values);
  for (size_t i = 0; i < count; i++) values[i] = (int)next_random();
  qsort(values, count, sizeof *values, compare_ints);
  return (uint32_t)values[count / 2];
}

static uint64_t matrix_product(void) {
  enum { kSize = 128, kRounds = 20 };
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

static uint64_t fib_35(void) { return fibonacci(35); }

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
  for (unsigned round = 0; round < 200; round++) {
    from[round] = (uint8_t)round;
    memcpy(to, from, size);
    __asm__ volatile("" ::: "memory");
  }
  return to[199];
}

const struct part kCpuParts[] = {
    {.name = "crc32", .run = crc32_bytewise},
    {.name = "primes", .run = primes_by_division},
    {.name = "qsort", .run = qsort_ints},
    {.name = "matrix", .run = matrix_product},
    {.name = "fib", .run = fib_35},
    {.name = "indirect_calls", .run = indirect_calls},
    {.name = "pointer_chase", .run = pointer_chase},
    {.name = "memcpy", .run = memory_copy},
    {0},
};
