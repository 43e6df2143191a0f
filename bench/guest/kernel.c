// Parts that ask the kernel for something, again and again.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static uint64_t system_calls(void) {
  long sum = 0;
  for (unsigned i = 0; i < 100000; i++) sum += syscall(SYS_getppid) != 0;
  return sum == 0 || sum == 100000;
}

static uint64_t page_touches(void) {
  const size_t size = 10000 * 4096;
  volatile uint8_t* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stop_if(memory == MAP_FAILED, "mmap");
  madvise((void*)memory, size, MADV_NOHUGEPAGE);
  for (size_t offset = 0; offset < size; offset += 4096) memory[offset] = 1;
  munmap((void*)memory, size);
  return 10000;
}

static unsigned wait_for(pid_t child) {
  int status = 0;
  return waitpid(child, &status, 0) == child && status == 0;
}

static uint64_t fork_and_wait(void) {
  unsigned exited = 0;
  for (unsigned i = 0; i < 200; i++) {
    const pid_t child = fork();
    stop_if(child < 0, "fork");
    if (child == 0) _exit(0);
    exited += wait_for(child);
  }
  return exited;
}

static uint64_t fork_and_exec(void) {
  unsigned exited = 0;
  for (unsigned i = 0; i < 100; i++) {
    const pid_t child = fork();
    stop_if(child < 0, "fork");
    if (child == 0) {
      execl("/proc/self/exe", "guest-bench", "--exit", NULL);
      _exit(127);
    }
    exited += wait_for(child);
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
  close(to_child[0]);
  close(to_parent[1]);
  unsigned trips = 0;
  for (unsigned i = 0; i < 5000; i++) {
    trips += write(to_child[1], &byte, 1) == 1 && read(to_parent[0], &byte, 1) == 1;
  }
  close(to_child[1]);
  close(to_parent[0]);
  wait_for(child);
  return trips;
}

static volatile sig_atomic_t signals_taken;
static uint8_t* volatile protected_page;

static void count_signal(int number) {
  (void)number;
  signals_taken++;
}

static void unprotect_page(int number) {
  count_signal(number);
  mprotect(protected_page, 4096, PROT_READ | PROT_WRITE);
}

static void handle(int number, void (*handler)(int)) {
  struct sigaction action = {.sa_handler = handler};
  stop_if(sigaction(number, &action, NULL) != 0, "sigaction");
  signals_taken = 0;
}

static uint64_t signals_to_self(void) {
  handle(SIGUSR1, count_signal);
  for (unsigned i = 0; i < 20000; i++) kill(getpid(), SIGUSR1);
  return (uint64_t)signals_taken;
}

static uint64_t protection_faults(void) {
  handle(SIGSEGV, unprotect_page);
  protected_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stop_if(protected_page == MAP_FAILED, "mmap");
  for (unsigned i = 0; i < 5000; i++) {
    mprotect(protected_page, 4096, PROT_NONE);
    *(volatile uint8_t*)protected_page = 1;
  }
  munmap(protected_page, 4096);
  signal(SIGSEGV, SIG_DFL);
  return (uint64_t)signals_taken;
}

static uint64_t map_and_unmap(void) {
  unsigned done = 0;
  for (unsigned i = 0; i < 5000; i++) {
    volatile uint8_t* memory =
        mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stop_if(memory == MAP_FAILED, "mmap");
    memory[0] = 1;
    done += munmap((void*)memory, 4 * 4096) == 0;
  }
  return done;
}

static uint64_t create_and_unlink(void) {
  char path[64];
  snprintf(path, sizeof path, "%s/guest-bench.%d", scratch_folder, (int)getpid());
  unsigned done = 0;
  for (unsigned i = 0; i < 5000; i++) {
    const int file = open(path, O_CREAT | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
    stop_if(file < 0, path);
    done += write(file, path, sizeof path) == sizeof path;
    close(file);
    done += unlink(path) == 0;
  }
  return done;
}

static void bring_up_loopback(void) {
  struct ifreq request = {.ifr_name = "lo"};
  const int any = socket(AF_INET, SOCK_DGRAM, 0);
  stop_if(any < 0 || ioctl(any, SIOCGIFFLAGS, &request) != 0, "loopback");
  request.ifr_flags |= IFF_UP;
  stop_if((request.ifr_flags & IFF_RUNNING) == 0 && ioctl(any, SIOCSIFFLAGS, &request) != 0, "loopback");
  close(any);
}

static void answer_each_byte(int listener) {
  char byte = 0;
  const int one = 1;
  const int peer = accept(listener, NULL, NULL);
  setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  while (read(peer, &byte, 1) == 1 && write(peer, &byte, 1) == 1) continue;
  _exit(0);
}

static uint64_t loopback_round_trips(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  const int one = 1;
  bring_up_loopback();
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  stop_if(bind(listener, (struct sockaddr*)&address, size) != 0 || listen(listener, 1) != 0 ||
              getsockname(listener, (struct sockaddr*)&address, &size) != 0,
          "listen");
  const pid_t child = fork();
  stop_if(child < 0, "fork");
  if (child == 0) answer_each_byte(listener);
  close(listener);
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  stop_if(connect(client, (struct sockaddr*)&address, size) != 0, "connect");
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  unsigned trips = 0;
  char byte = 0;
  for (unsigned i = 0; i < 2000; i++) trips += write(client, &byte, 1) == 1 && read(client, &byte, 1) == 1;
  close(client);
  wait_for(child);
  return trips;
}

const struct part kKernelParts[] = {
    {.name = "getppid", .run = system_calls},
    {.name = "page_touches", .run = page_touches},
    {.name = "fork_wait", .run = fork_and_wait},
    {.name = "fork_exec", .run = fork_and_exec},
    {.name = "pipe_trips", .run = pipe_round_trips},
    {.name = "signals", .run = signals_to_self},
    {.name = "segv", .run = protection_faults},
    {.name = "mmap", .run = map_and_unmap},
    {.name = "files", .run = create_and_unlink},
    {.name = "loopback", .run = loopback_round_trips},
    {0},
};
