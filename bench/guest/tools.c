// Parts that run programs of Debian: SQLite's shell, GCC's compiler proper, make. The check value is the CRC
// of their output.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define SOURCES "tools"  // folder of inputs below tools_folder
enum { kMaxArguments = 16, kMaxPath = 256, kCompiledFiles = 8 };

static const char kSql[] =
    "CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, name TEXT);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<8000)"
    " INSERT INTO t SELECT i, i*7919%1009, 'name'||(i*31%8000) FROM n;"
    "CREATE INDEX by_k ON t(k);"
    "SELECT k, count(*), sum(id), max(name) FROM t GROUP BY k ORDER BY 3 DESC LIMIT 20;"
    "SELECT count(*) FROM t a JOIN t b ON a.k=b.k WHERE a.name<b.name;"
    "UPDATE t SET name=upper(name) WHERE k%3=0; DELETE FROM t WHERE k%5=0;"
    "SELECT count(*), sum(length(name)), group_concat(name) FROM t WHERE id BETWEEN 4000 AND 4400;";

// Replaces this process by a program, run by its own loader with its own libraries.
static void run_program(const char* name, const char* const* extra) {
  char loader[kMaxPath], libraries[kMaxPath], program[kMaxPath];
  snprintf(loader, sizeof loader, "%s/lib64/ld-linux-x86-64.so.2", tools_folder);
  snprintf(libraries, sizeof libraries, "%s/lib/x86_64-linux-gnu", tools_folder);
  snprintf(program, sizeof program, "%s/bin/%s", tools_folder, name);
  const char* arguments[kMaxArguments] = {loader, "--library-path", libraries, program};
  size_t count = 4;
  for (; *extra != NULL && count < kMaxArguments - 1; extra++) arguments[count++] = *extra;
  char* const environment[] = {NULL};
  execve(loader, (char* const*)arguments, environment);
  perror(loader);
  _exit(127);
}

// Runs a program with the inputs' folder as its current one; the CRC of what it writes to its output.
static uint64_t output_of(const char* name, const char* const* extra) {
  int output[2];
  stop_if(pipe(output) != 0, "pipe");
  const pid_t child = fork();
  stop_if(child < 0, "fork");
  if (child == 0) {
    char folder[kMaxPath];
    snprintf(folder, sizeof folder, "%s/" SOURCES, tools_folder);
    stop_if(chdir(folder) != 0, folder);
    dup2(output[1], STDOUT_FILENO);
    close(output[0]);
    close(output[1]);
    run_program(name, extra);
  }
  close(output[1]);
  uint32_t crc = 0;
  char buffer[4096];
  ssize_t count;
  while ((count = read(output[0], buffer, sizeof buffer)) > 0) crc = crc32_of(crc, buffer, (size_t)count);
  close(output[0]);
  int status = 0;
  stop_if(waitpid(child, &status, 0) != child, "waitpid");
  if (status != 0) {
    fprintf(stderr, "guest-bench: %s failed\n", name);
    exit(1);
  }
  return crc;
}

static uint64_t sqlite_queries(void) {
  const char* const arguments[] = {"-batch", ":memory:", kSql, NULL};
  return output_of("sqlite3", arguments);
}

static uint64_t compile(void) {
  const char* const arguments[] = {"-quiet", "-fpreprocessed", "-O2", "input.i", "-o", "-", NULL};
  return output_of("cc1", arguments);
}

static uint32_t crc_of_file(const char* path, uint32_t crc) {
  char buffer[4096];
  ssize_t count;
  const int file = open(path, O_RDONLY);
  stop_if(file < 0, path);
  while ((count = read(file, buffer, sizeof buffer)) > 0) crc = crc32_of(crc, buffer, (size_t)count);
  close(file);
  unlink(path);
  return crc;
}

// As many jobs at a time as this process may use CPUs.
static uint64_t compile_in_parallel(void) {
  cpu_set_t cpus;
  stop_if(sched_getaffinity(0, sizeof cpus, &cpus) != 0, "sched_getaffinity");
  char jobs[16], root[kMaxPath + 8], output[kMaxPath + 8], path[2 * kMaxPath];
  snprintf(jobs, sizeof jobs, "-j%d", CPU_COUNT(&cpus));
  snprintf(root, sizeof root, "ROOT=%s", tools_folder);
  snprintf(path, sizeof path, "%s/guest-bench.%d", scratch_folder, (int)getpid());
  snprintf(output, sizeof output, "OUT=%s", path);
  stop_if(mkdir(path, 0700) != 0, path);
  const char* const arguments[] = {"-s", "-r", jobs, root, output, NULL};
  uint64_t check = output_of("make", arguments);
  const size_t length = strlen(path);
  for (int i = 0; i < kCompiledFiles; i++) {
    snprintf(path + length, sizeof path - length, "/%d.s", i);
    check = check * 31 + crc_of_file(path, (uint32_t)i);
  }
  path[length] = '\0';
  stop_if(rmdir(path) != 0, path);
  return check;
}

const struct part kToolParts[] = {
    {.name = "sqlite", .run = sqlite_queries, .program = "bin/sqlite3"},
    {.name = "gcc", .run = compile, .program = "bin/cc1"},
    {.name = "make", .run = compile_in_parallel, .program = "bin/make", .runs_only_by_name = 1},
    {0},
};
