// Reads and writes a disk past the page cache, one request after another, and prints how long each pass took.
// Usage: disk-bench DEVICE BLOCK_BYTES COUNT ROUNDS
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void pass(int disk, char* buffer, size_t block, long count, int writes) {
  const double start = seconds();
  for (long i = 0; i < count; ++i) {
    const off_t at = (off_t)(i * (long)block);
    const ssize_t done = writes ? pwrite(disk, buffer, block, at) : pread(disk, buffer, block, at);
    if (done != (ssize_t)block) {
      perror("disk-bench: transfer");
      exit(1);
    }
  }
  printf("round %s %lld %.6f\n", writes ? "write" : "read", (long long)block * count, seconds() - start);
  fflush(stdout);
}

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const size_t block = strtoul(argv[2], NULL, 0);
  const int disk = open(argv[1], O_RDWR | O_DIRECT);
  char* buffer = aligned_alloc(4096, block);
  if (disk < 0 || buffer == NULL) {
    perror("disk-bench");
    return 1;
  }
  memset(buffer, 0x5a, block);
  for (long round = strtol(argv[4], NULL, 0); round > 0; --round) {
    pass(disk, buffer, block, strtol(argv[3], NULL, 0), 0);
    pass(disk, buffer, block, strtol(argv[3], NULL, 0), 1);
  }
  return 0;
}
