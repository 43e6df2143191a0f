// What the parts of the benchmark share: their type, one random sequence and memory that costs no page
// faults.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { kMegabyte = 1 << 20 };

struct part {
  const char* name;
  uint64_t (*run)(void);  // a result that must be the same on every machine
  const char*
      program;  // file below tools_folder that it runs, or NULL; a part without its program is left out
  int runs_only_by_name;  // not one of the parts that run when none are named
};

// Ends with an entry without a name.
extern const struct part kCpuParts[];      // cpu.c
extern const struct part kComputeParts[];  // compute.c
extern const struct part kKernelParts[];   // kernel.c
extern const struct part kToolParts[];     // tools.c

// Folder with programs of Debian, their loader and libraries; absolute, "" for the root directory.
extern const char* tools_folder;
// A folder on a tmpfs.
extern const char* scratch_folder;

// xorshift64: the same sequence in every run.
uint64_t next_random(void);
// Memory that was touched before the first part; all of it is free again when a part begins.
void* pages(size_t bytes);
// Ends the program with errno's text when `failed`.
void stop_if(int failed, const char* what);
// CRC-32 of a block, going on from `crc`; 0 in the beginning.
uint32_t crc32_of(uint32_t crc, const void* data, size_t size);

// sha256.c
void sha256(const uint8_t* data, size_t size, uint8_t digest[32]);
// bytecode.c
uint64_t run_bytecode(uint64_t rounds);
