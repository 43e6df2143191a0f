// The benchmark that runs as init in a guest and, with --native, as a process on the host.
//
// guest-bench [PART,PART...]                   init: the parts named, or all; then power off
// guest-bench --native TOOLS [PART,PART...]    a process, with Debian's programs in the folder TOOLS
//
// Prints `start NAME` before and `bench NAME SECONDS CHECK` after each part, so that a host that watches the
// console can take wall time even where the guest's clock does not follow it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

const char* tools_folder = "";
const char* scratch_folder = "/tmp";

static uint64_t random_state = 88172645463325252u;
static uint8_t* arena;
static size_t arena_used;

uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

void stop_if(int failed, const char* what) {
  if (failed) {
    perror(what);
    exit(1);
  }
}

void* pages(size_t bytes) {
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

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

// True when the comma-separated list holds the name.
static int is_listed(const char* list, const char* name) {
  const size_t length = strlen(name);
  for (const char* at = list; at != NULL; at = strchr(at, ',')) {
    at += *at == ',';
    if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0')) return 1;
  }
  return 0;
}

static int has_program(const struct part* part) {
  char path[256];
  if (part->program == NULL) return 1;
  snprintf(path, sizeof path, "%s/%s", tools_folder, part->program);
  return access(path, R_OK) == 0;
}

static void run_part(const struct part* part) {
  printf("start %s\n", part->name);
  tcdrain(STDOUT_FILENO);  // the console is idle, and the host knows, before the clock starts
  arena_used = 0;
  random_state = 88172645463325252u;
  const double start = seconds();
  const uint64_t check = part->run();
  printf("bench %s %.6f %llx\n", part->name, seconds() - start, (unsigned long long)check);
}

static void run_parts(const char* list) {
  const struct part* const groups[] = {kCpuParts, kComputeParts, kToolParts, kKernelParts};
  touch_arena();
  for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
    for (const struct part* part = groups[i]; part->name != NULL; part++) {
      const int is_wanted = list != NULL ? is_listed(list, part->name) : !part->runs_only_by_name;
      if (is_wanted && has_program(part)) run_part(part);
    }
  }
  printf("bench-done\n");
  tcdrain(STDOUT_FILENO);
}

static void print_uptime(void) {
  FILE* file = fopen("/proc/uptime", "r");
  double uptime = 0;
  if (file == NULL || fscanf(file, "%lf", &uptime) != 1) uptime = -1;
  if (file != NULL) fclose(file);
  printf("doppel-init: reached, uptime %.2f\n", uptime);
}

static void mount_all(void) {
  mkdir("/proc", 0755);
  mkdir("/tmp", 0755);
  mkdir("/dev", 0755);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  stop_if(mount("tmpfs", "/tmp", "tmpfs", 0, NULL) != 0, "tmpfs");
}

int main(int argc, char** argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc > 1 && strcmp(argv[1], "--exit") == 0) return 0;  // the program that fork_exec starts
  if (argc > 2 && strcmp(argv[1], "--native") == 0) {
    tools_folder = argv[2];
    scratch_folder = "/dev/shm";
    run_parts(argc > 3 ? argv[3] : NULL);
    return 0;
  }
  if (getpid() != 1) {
    fprintf(stderr, "guest-bench: run as init of a guest, or with --native TOOLS\n");
    return 2;
  }
  mount_all();
  print_uptime();
  run_parts(argc > 1 ? argv[1] : NULL);
  sync();
  reboot(RB_POWER_OFF);
  return 1;
}
